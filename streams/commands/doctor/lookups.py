"""The lookups: can each be reached from here? One connection each, or, if asked to, one real question."""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from streams.commands.doctor.findings import Finding, note, ok, problem
from streams.commands.lookup_by_hand import made_up_ref
from streams.lookup.client import Question
from streams.lookup.lookups import open_client
from streams.messages.decode import Outcome
from streams.settings.invocation import invocation
from streams.settings.organisations_file import Organisation, Organisations

CHECK = "lookups"
#: Lookups that are tried at the same time.
_AT_ONCE = 50
#: So many with the same result have a line of their own; more than these share one.
_NAMED = 5
_HARM = "until then, whoever is not in the table gets two buttons"


async def check_lookups(organisations: Organisations, address: str | None) -> list[Finding]:
    """Try every configured lookup; with an `address` by a question about it, else by connecting only."""
    policies = [policy for policy in (organisations.default, *organisations) if policy.lookup is not None]
    if not policies:
        return [note(CHECK, "none is configured: whoever is not in the table gets two buttons")]
    some_at_once = asyncio.Semaphore(_AT_ONCE)

    async def check(policy: Organisation) -> Finding:
        async with some_at_once:
            return await (_connect(policy) if address is None else _ask(policy, address))

    found: dict[Finding, list[str]] = {}
    for policy, finding in zip(policies, await asyncio.gather(*map(check, policies)), strict=True):
        found.setdefault(finding, []).append(_whose(policy))
    return [line for finding, whose in found.items() for line in _lines(finding, whose)]


def _lines(finding: Finding, whose: Sequence[str]) -> list[Finding]:
    """One finding for each lookup, or one for all of them where they are many with the same result."""
    if len(whose) <= _NAMED:
        return [finding._replace(text=f"{each}: {finding.text}") for each in whose]
    named = ", ".join(whose[:_NAMED])
    more = len(whose) - _NAMED
    return [finding._replace(text=f"{len(whose):,} lookups ({named}, and {more:,} more): {finding.text}")]


def _whose(policy: Organisation) -> str:
    assert policy.lookup is not None
    # No path, no query, no user: some services have their key there.
    url = urlsplit(policy.lookup.url)
    where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    return f"{'default' if policy.org_id is None else f'organisation {policy.org_id}'} at {where}"


async def _connect(policy: Organisation) -> Finding:
    assert policy.lookup is not None
    url = urlsplit(policy.lookup.url)
    tls = None
    if url.scheme == "https":
        tls = ssl.create_default_context(cadata=policy.ca_pem)
    port = url.port or (443 if tls else 80)
    try:
        async with asyncio.timeout(policy.lookup.deadline):
            _, writer = await asyncio.open_connection(url.hostname, port, ssl=tls)
    except TimeoutError:
        return problem(
            CHECK,
            f"no connection within its deadline of {policy.lookup.deadline:g} s",
            f"a firewall, or the service is down; {_HARM}",
        )
    except ssl.SSLError as error:
        return problem(
            CHECK,
            f"the TLS handshake fails ({error.reason or type(error).__name__})",
            f"its certificate has expired or is another's, or ca_file is wrong; {_HARM}",
        )
    except OSError as error:
        return problem(
            CHECK,
            f"no connection ({type(error).__name__})",
            f"the name is wrong, or nobody listens there; {_HARM}",
        )
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
    return ok(CHECK, f"{'connection and TLS stand' if tls else 'connection stands'} (--ask asks it)")


async def _ask(policy: Organisation, address: str) -> Finding:
    async with contextlib.aclosing(open_client(policy)) as client:
        reply = await client.ask(Question(policy.org_id or 0, made_up_ref(address), address))
    outcome = reply.outcome
    if outcome.outcome is Outcome.ERROR:
        return problem(
            CHECK,
            f"a question fails ({outcome.cause}{f': {outcome.detail}' if outcome.detail else ''})",
            f"`{invocation()} lookup` shows more; {_HARM}",
        )
    return ok(CHECK, f"answers ({outcome.outcome})")
