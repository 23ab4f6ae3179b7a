"""Each organisation is asked as its entry in the organisations file says."""

import asyncio
import base64
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from streams.commands.audit.auditing import audit
from streams.commands.audit.outcome import AuditRange
from streams.commands.installation import installation_of
from streams.sandbox.lookup_service import Behaviour, LookupService, hanging, subscribed
from streams.settings.load import load_settings
from tests.integration.steps import Make, act, command, emails_of, ready, reasons, settled, table
from tests.integration.topics import action

pytestmark = pytest.mark.kafka


async def not_found(_: dict[str, Any]) -> web.StreamResponse:
    return web.Response(status=404)


async def test_each_organisation_is_asked_by_its_own_entry(
    installation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Own service and credentials, the default's, none at all; and a 404 that means what the entry says."""
    monkeypatch.setenv("CRM_TOKEN", "Bearer default-token")
    monkeypatch.setenv("CRM_310_PASSWORD", "sésame")
    file = tmp_path / "organisations.toml"
    with (
        LookupService(subscribed) as default,
        LookupService(not_found) as own,
        LookupService(not_found) as other,
    ):
        file.write_text(
            table(None, [f'url = "{default.url}"', 'authorization_env = "CRM_TOKEN"'])
            + table(
                310,
                [
                    f'url = "{own.url}"',
                    'user = "streams"',
                    'password_env = "CRM_310_PASSWORD"',
                    'on_not_found = "not_subscribed"',
                ],
            )
            + table(311, ["deadline = 5"])
            + table(312, ['lookup = "none"'])
            + table(313, [f'url = "{other.url}"'])
        )
        place = installation(organisations_file=file)
        worker = await ready(place)
        await act(place, *[action(org_id, org_id=org_id) for org_id in (310, 311, 312, 313, 999)])
        emails = {email["orgId"]: email for email in await emails_of(place, 5)}
        assert {org_id: email["reason"] for org_id, email in emails.items()} == {
            310: "lookup_not_subscribed",
            311: "lookup_subscribed",
            312: "no_lookup",
            313: "lookup_failed",
            999: "lookup_subscribed",
        }
        assert emails[313]["lookup"]["cause"] == "http_status"
        assert own.authorizations == ["Basic " + base64.b64encode("streams:sésame".encode()).decode()]
        assert default.authorizations == ["Bearer default-token"] * 2
        assert other.authorizations == [None], "the default's secret is not for somebody else's service"
        assert worker.counter("confirmation_lookups_total", organisation="310", outcome="non_existing") == 1
        assert worker.counter("confirmation_lookups_total", organisation="other", outcome="existing") == 1


async def test_what_proca_s_messages_say_decides_where_that_is_set(
    installation: Make, tmp_path: Path
) -> None:
    """No consent: no letter. A repeat signer: one. What the message says: one organisation believes it."""
    file = tmp_path / "organisations.toml"
    file.write_text(table(None, ['lookup = "none"']) + table(310, ['is_subscribed_in_message = "believed"']))
    place = installation(organisations_file=file, confirm_repeats_at="deliver")
    worker = await ready(place)
    says_so = {"action": {"customFields": {"isSubscribed": True}}}
    documents = [
        action(1, **says_so),
        action(2, org_id=311, **says_so),
        action(3, privacy={"withConsent": False}, **says_so),
        action(4, stage="deliver"),
        action(5, stage="deliver"),
        action(6),
    ]
    documents[4]["contact"]["dupeRank"] = 1
    await act(place, *documents)
    assert await reasons(place, 4) == {
        1: "message_subscribed",
        2: "no_lookup",
        5: "no_lookup",
        6: "no_lookup",
    }
    for why in ("no_consent", "stage"):
        await asyncio.to_thread(worker.wait_counter, 1, "confirmation_actions_ignored_total", why=why)
    settings = load_settings({f"STREAMS_{name}": text for name, text in place.settings.items()})
    found = await audit(installation_of(settings), AuditRange())
    assert (found.holds, found.counts.asked, found.counts.ignored) == (True, 4, 2), "by the same setting"


@pytest.mark.slow
async def test_sighup_reads_the_file_again_and_a_wrong_one_changes_nothing(
    installation: Make, tmp_path: Path
) -> None:
    """A new URL and a new deadline are used from then on; a wrong file is logged with its line."""
    file = tmp_path / "organisations.toml"
    with (
        LookupService(subscribed) as first,
        LookupService(subscribed) as second,
        LookupService(hanging) as third,
    ):
        file.write_text(table(310, [f'url = "{first.url}"', "deadline = 20"]))
        place = installation(organisations_file=file)
        worker = await ready(place)

        async def hang_up(content: str, logged: str) -> None:
            before = worker.log.read_text().count(logged)
            file.write_text(content)
            worker.send(signal.SIGHUP)
            await settled(place, lambda: worker.log.read_text().count(logged) > before)

        await act(place, action(1))
        assert await reasons(place, 1) == {1: "lookup_subscribed"}

        await hang_up(table(310, [f'url = "{second.url}"', "deadline = 20"]), "organisations read again")
        await act(place, action(2))
        assert (await reasons(place, 2))[2] == "lookup_subscribed"
        assert (len(first.questions), len(second.questions)) == (1, 1)

        await hang_up(
            table(310, [f'url = "{third.url}"', 'deadline = "never"']), "the old one stays in force"
        )
        assert "line 3: organisation.310.deadline" in worker.log.read_text()
        assert worker.running
        await act(place, action(3))
        assert (await reasons(place, 3))[3] == "lookup_subscribed"
        assert (len(second.questions), len(third.questions)) == (2, 0)

        await hang_up(table(310, [f'url = "{third.url}"', 'deadline = "300ms"']), "organisations read again")
        await act(place, action(4))
        async with asyncio.timeout(15):
            assert (await reasons(place, 4))[4] == "lookup_failed"
        assert len(third.questions) == 1
        assert worker.counter("confirmation_lookups_total", cause="timeout") == 1


async def test_a_wrong_file_stops_the_start(installation: Make, tmp_path: Path) -> None:
    """Exit code not 0, and the log names the file, each line that is wrong, and no traceback."""
    file = tmp_path / "organisations.toml"
    file.write_text(table(310, ["url = 7", "dead_line = 3"]))
    place = installation(organisations_file=file)
    worker = place.worker()
    worker.start()
    assert await asyncio.to_thread(worker.wait) != 0
    log = worker.log.read_text()
    assert f"{file} is wrong" in log
    assert "line 2: organisation.310.url" in log
    assert "line 3: organisation.310.dead_line" in log
    assert "Traceback" not in log


async def test_a_person_has_a_lookup_tried_again_before_its_breaker_would(
    installation: Make, tmp_path: Path
) -> None:
    """The pause is minutes; after `streams breaker retry` the next action probes the service."""
    file = tmp_path / "organisations.toml"
    with LookupService(subscribed) as service:
        service.behave(Behaviour.ERRORS)
        entry = [f'url = "{service.url}"', "breaker_minimum_calls = 3", "breaker_window = 600"]
        file.write_text(table(310, [*entry, "breaker_first_pause = 600", "breaker_longest_pause = 600"]))
        place = installation(organisations_file=file, topic_partitions=1)
        worker = await ready(place)

        def breaker_is(state: str) -> bool:
            name = "confirmation_lookup_breaker_state"
            return worker.counter(name, organisation="310", state=state) == 1

        await act(place, *[action(number, org_id=310) for number in range(3)])
        await settled(place, lambda: breaker_is("open"))
        service.behave(Behaviour.HEALTHY)
        assert (await command(place, "breaker", "retry", "999")).exit_code == 2
        decided = await command(place, "breaker", "retry", "310")
        assert (decided.exit_code, "organisation 310" in decided.stdout) == (0, True), decided.output
        await settled(place, lambda: "tried again" in worker.log.read_text())
        await act(place, action(3, org_id=310))  # the probe; its letter does not wait for it
        await settled(place, lambda: breaker_is("closed"))
        await act(place, action(4, org_id=310))
        found = await reasons(place, 5)
        assert (found[3], found[4]) == ("lookup_failed", "lookup_subscribed")
