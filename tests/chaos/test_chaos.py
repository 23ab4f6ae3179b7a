"""Short runs of ``make chaos``: three brokers, two workers, some faults, and the verdict."""

import logging

import pytest

from tests.chaos.damage import may_mount
from tests.chaos.run import run
from tests.chaos.schedule import Fault

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

SCHEDULE = [
    Fault(3, "kill", 0.2),
    Fault(12, "transaction_coordinator", 0.1),
    Fault(24, "stop", 0.05),
    Fault(40, "leader", 0.3),
    Fault(52, "term", 0.9),
]
SECONDS = 60
DAMAGE = [
    Fault(3, "term", 0.7),
    Fault(15, "spoiled_store", 0.2),
    Fault(35, "deleted_records", 0.7),
    Fault(55, "full_store", 0.2),
]
DAMAGE_SECONDS = 95
RATE = 400  # actions a second


async def judged(schedule: list[Fault], seconds: int, caplog: pytest.LogCaptureFixture) -> None:
    """Run a schedule, all of which must have its effect, and expect no email too few or too many."""
    caplog.set_level(logging.CRITICAL, logger="aiokafka")  # it says a lot while brokers die
    said: list[str] = []
    actions = RATE * seconds
    outcome = await run(actions, RATE, schedule, said.append)
    assert outcome.clean, "\n".join([*said, *outcome.report])
    assert outcome.verdict.actions == outcome.verdict.emails > 0.99 * actions
    assert outcome.injected.total() == len(schedule)


async def test_every_action_has_its_one_email_whatever_dies(caplog: pytest.LogCaptureFixture) -> None:
    """Killed, stopped and terminated workers, a dead leader and coordinator: none missing, none doubled."""
    await judged(SCHEDULE, SECONDS, caplog)


@pytest.mark.slow
async def test_every_action_has_its_one_email_whatever_is_damaged(caplog: pytest.LogCaptureFixture) -> None:
    """Spoiled stores, deleted records, a full disk of a store: none missing, none doubled."""
    if not may_mount():
        pytest.skip("this user may not mount a tmpfs, which is the small disk")
    await judged(DAMAGE, DAMAGE_SECONDS, caplog)
