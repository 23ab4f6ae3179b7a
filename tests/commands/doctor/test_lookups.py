"""Lookups: connected to, or asked."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trustme

from streams.commands.doctor.findings import Finding, Severity
from streams.commands.doctor.lookups import check_lookups
from streams.lookup.client import Endpoint
from streams.sandbox.lookup_service import LookupService, failing, subscribed
from streams.sandbox.ports import free_port
from streams.settings.organisations_file import Organisation, Organisations


def organisations(url: str, ca_pem: str | None = None, deadline: float = 2.0) -> Organisations:
    policy = Organisation(310, lookup=Endpoint(url, deadline=deadline), ca_pem=ca_pem)
    return Organisations(entries={310: policy})


async def finding(policies: Organisations, address: str | None = None) -> Finding:
    (found,) = await check_lookups(policies, address)
    return found


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_connection_is_enough_without_asking() -> None:
    """Its address is told, without path, query or user."""
    async with listening() as port:
        found = await finding(organisations(f"http://user:pass@127.0.0.1:{port}/secret?key=1"))
    assert found.level is Severity.OK
    assert found.text.startswith(f"organisation 310 at http://127.0.0.1:{port}: connection stands")


async def test_nobody_listening_is_a_problem() -> None:
    """Refused: what is wrong, and what it means until then."""
    found = await finding(organisations(f"http://127.0.0.1:{free_port()}/"))
    assert (found.level, "ConnectionRefusedError" in found.text) == (Severity.PROBLEM, True)
    assert "two buttons" in found.remedy


async def test_tls_is_checked_with_the_organisation_s_own_authorities() -> None:
    """With its ca_file the handshake stands; without, the certificate is refused."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with listening(context) as port:
        url = f"https://127.0.0.1:{port}/"
        good = await finding(organisations(url, authority.cert_pem.bytes().decode()))
        bad = await finding(organisations(url))
    assert (good.level, "TLS" in good.text) == (Severity.OK, True)
    assert (bad.level, "CERTIFICATE_VERIFY_FAILED" in bad.text) == (Severity.PROBLEM, True)


async def test_silence_in_the_handshake_ends_at_the_deadline() -> None:
    """A service that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        found = await finding(organisations(f"https://127.0.0.1:{port}/", deadline=0.2))
    assert (found.level, "within its deadline of 0.2 s" in found.text) == (Severity.PROBLEM, True)


async def test_asking_takes_a_real_answer() -> None:
    """--ask: an answer is fine, a failure is named by its cause; the address is not repeated."""
    with LookupService(subscribed) as lookup:
        good = await finding(organisations(lookup.url), "ana@example.org")
        assert [question["email"] for question in lookup.questions] == ["ana@example.org"]
    with LookupService(failing) as lookup:
        bad = await finding(organisations(lookup.url), "ana@example.org")
    assert (good.level, "answers (existing)" in good.text) == (Severity.OK, True)
    assert (bad.level, "http_status" in bad.text) == (Severity.PROBLEM, True)
    assert "ana" not in good.text + bad.text + bad.remedy


async def test_no_lookup_at_all_is_a_note() -> None:
    """Then everybody unknown gets two buttons, as configured."""
    assert (await finding(Organisations())).level is Severity.NOTE


async def test_many_lookups_with_the_same_result_share_a_line() -> None:
    """Three hundred organisations at two services: a line each for the good ones and the bad ones."""
    async with listening() as port:
        dead = free_port()
        entries = {
            number: Organisation(
                number, lookup=Endpoint(f"http://127.0.0.1:{dead if number in (7, 9) else port}/")
            )
            for number in range(1, 301)
        }
        found = await check_lookups(Organisations(entries=entries), None)
    assert [each.text.partition(":")[0] for each in found if each.level is Severity.PROBLEM] == [
        "organisation 7 at http",
        "organisation 9 at http",
    ]
    (good,) = [each for each in found if each.level is Severity.OK]
    assert good.text.startswith(f"298 lookups (organisation 1 at http://127.0.0.1:{port}, organisation 2 at ")
    assert ", and 293 more): connection stands" in good.text
