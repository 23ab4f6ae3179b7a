"""One organisation's dead CRM is nobody else's trouble."""

import asyncio
from pathlib import Path

import pytest

from streams.sandbox.lookup_service import LookupService, failing, hanging, subscribed
from tests.integration.steps import Make, act, emails_of, learn, ready, reasons, table, written
from tests.integration.topics import action, status

pytestmark = pytest.mark.kafka

DEAD, ALIVE = 310, 311
PENDING = 100
"""In each of four partitions: enough for all of the other organisation's actions, not for the dead one's."""


async def test_a_hanging_crm_delays_nobody_who_does_not_need_it(installation: Make, tmp_path: Path) -> None:
    """Three of four actions hang at one CRM: other organisations and known supporters do not wait for it.

    The organisation's own actions beyond what may be pending do not wait either: they count as saturated.
    """
    deadline = 12.0
    with LookupService(hanging) as dead, LookupService(subscribed) as alive:
        file = tmp_path / "organisations.toml"
        file.write_text(
            table(DEAD, [f'url = "{dead.url}"', f"deadline = {deadline}"])
            + table(ALIVE, [f'url = "{alive.url}"', "deadline = 20"])
        )
        place = installation(organisations_file=file, pending_lookups_per_organisation=PENDING)
        worker = await ready(place)
        # Every eighth is the other organisation's, every eighth a known supporter of the affected one.
        organisations = {number: ALIVE if number % 8 == 0 else DEAD for number in range(1_600)}
        known = [number for number in organisations if number % 8 == 4]
        await learn(place, [status(number, True, org_id=DEAD) for number in known])
        await act(place, *[action(number, org_id=org_id) for number, org_id in organisations.items()])

        acted, left = await written(place, len(organisations))
        why = await reasons(place, len(organisations))
        for number, org_id in organisations.items():
            if org_id == ALIVE:
                assert why[number] == "lookup_subscribed"
            else:
                assert why[number] == ("known_subscribed" if number in known else "lookup_failed")
        unaffected = [
            number for number, org_id in organisations.items() if org_id == ALIVE or number in known
        ]
        # Measured beside those who do wait: the machine that delays the one delays the other.
        waited = [number for number in organisations if left[number] - acted[number] >= deadline]
        assert max(left[number] for number in unaffected) < min(left[number] for number in waited)
        saturated = worker.counter("confirmation_lookups_total", organisation=str(DEAD), cause="saturated")
        timeout = worker.counter("confirmation_lookups_total", organisation=str(DEAD), cause="timeout")
        circuit_open = worker.counter(
            "confirmation_lookups_total", organisation=str(DEAD), cause="circuit_open"
        )
        assert saturated >= 1_200 - 4 * PENDING
        assert timeout >= 1
        assert saturated + timeout + circuit_open == 1_200
        assert 1 <= len(waited) <= 4 * PENDING, "only those that had a lookup pending waited for the deadline"


async def test_the_breaker_opens_spares_the_crm_and_closes_again(installation: Make, tmp_path: Path) -> None:
    """500s open it, and the CRM is left alone but for probes; when it answers again, lookups are back."""
    with LookupService(failing) as crm:
        file = tmp_path / "organisations.toml"
        file.write_text(table(DEAD, [f'url = "{crm.url}"', 'breaker_first_pause = "500ms"']))
        place = installation(organisations_file=file)
        worker = await ready(place)

        def is_(state: str) -> bool:
            return worker.counter("confirmation_lookup_breaker_state", organisation="310", state=state) == 1

        for number in range(200):
            await act(place, action(number))
            if await asyncio.to_thread(is_, "open"):
                break
        sent = number + 1
        assert is_("open")
        assert len(crm.questions) >= 10
        asked = len(crm.questions)
        await act(place, *[action(1_000 + number) for number in range(300)])
        sent += 300
        assert set((await reasons(place, sent)).values()) == {"lookup_failed"}
        assert len(crm.questions) - asked <= 10, "a probe now and then, and no more"
        assert worker.counter("confirmation_lookups_total", cause="circuit_open") >= 290

        crm.answer = subscribed
        number = 2_000
        for number in range(2_000, 2_200):
            await act(place, action(number))
            sent += 1
            if await asyncio.to_thread(is_, "closed"):
                break
            await asyncio.sleep(0.1)
        assert is_("closed")
        await act(place, action(3_000))
        emails = {email["actionId"]: email for email in await emails_of(place, sent + 1)}
        assert emails[3_000]["reason"] == "lookup_subscribed"
        assert len(emails) == sent + 1
