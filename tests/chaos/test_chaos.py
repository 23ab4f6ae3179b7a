"""A short run of ``make chaos``: three brokers, two workers, five faults, and the verdict."""

import logging

import pytest

from tests.chaos.run import run
from tests.chaos.schedule import Fault

pytestmark = pytest.mark.kafka

SCHEDULE = [
    Fault(3, "kill", 0.2),
    Fault(12, "transaction_coordinator", 0.1),
    Fault(24, "stop", 0.05),
    Fault(40, "leader", 0.3),
    Fault(52, "term", 0.9),
]
SECONDS = 60
ACTIONS = 24_000


@pytest.mark.timeout(900)
async def test_every_action_has_its_one_email_whatever_dies(caplog: pytest.LogCaptureFixture) -> None:
    """Killed, stopped and terminated workers, a dead leader and coordinator: none missing, none doubled."""
    caplog.set_level(logging.CRITICAL, logger="aiokafka")  # it says a lot while brokers die
    said: list[str] = []
    outcome = await run(ACTIONS, ACTIONS / SECONDS, SCHEDULE, said.append)
    assert outcome.clean, "\n".join([*said, *outcome.report])
    assert outcome.verdict.actions == outcome.verdict.emails > 0.99 * ACTIONS
    assert outcome.injected.total() == len(SCHEDULE)
