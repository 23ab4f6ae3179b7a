"""The same message twice, where a window for duplicates is set."""

import asyncio
from typing import Any

import orjson
import pytest

from streams.messages.keys import partition_of
from tests.integration.steps import Make, act, command, emails_of, ready, started
from tests.integration.topics import action, keyed, producing

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def reminder(number: int) -> dict[str, Any]:
    """The action that a reminder service sends again."""
    return action(number, action={"customFields": {"reminder": True}})


async def test_the_same_action_gets_one_email_across_a_restart(installation: Make) -> None:
    """Its reminder gets another one; the audit accounts for what was passed over; a roll-back works."""
    place = installation(topic_partitions=2, duplicate_window="15m")
    worker = await ready(place)
    key, value = keyed(action(1))
    right = partition_of(key, 2)
    async with producing(place.bootstrap_servers) as producer:  # without a key, and not where it belongs
        await producer.send_and_wait(place.names.actions, value, partition=1 - right)
    await emails_of(place, 1)
    worker.kill()
    await started(worker)
    await act(place, action(1), reminder(1), action(2), action(2))
    emails = await emails_of(place, 3)
    assert sorted(email["actionId"] for email in emails) == [1, 1, 2]
    assert sum("action" in email["action"] for email in emails) == 1, "the reminder"
    ignored = "confirmation_actions_ignored_total"
    await asyncio.to_thread(worker.wait_counter, 2, ignored, 20, why="duplicate")
    audited = await command(place, "audit", "--json")
    assert audited.exit_code == 0, audited.output
    found = orjson.loads(audited.stdout)
    assert (found["actions"]["asked"], found["emails"], found["duplicates"]) == (5, 3, 2)
    resent = await command(place, "resend", "--yes")
    assert "nothing to resend" in resent.output
    assert await asyncio.to_thread(worker.stop) == 0
    await ready(place, duplicate_window="0")
    await act(place, action(1))
    assert len(await emails_of(place, 4)) == 4
