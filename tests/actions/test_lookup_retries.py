"""A lookup service that is down is tried again at once when a person wants it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.actions.lookup_retries import LookupRetries
from streams.delivery.decisions import with_retry
from streams.delivery.transaction import Position
from streams.lookup.breaker import State

NOTHING = Position(None, "")
NOW = 1_000_000.0


class Worker:
    """A worker's lookups, and what the group has committed."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.committed = NOTHING
        self.error: Exception | None = None
        self.asked: list[TopicPartition] = []
        self.ended: list[int | None] = []
        self.now = NOW
        lookups: Any = self
        self.retries = LookupRetries(lookups, "dlq", self.read, lambda: self.now)

    def __iter__(self) -> Any:
        return iter([SimpleNamespace(state=self.state)])

    def end_pause(self, org_id: int | None) -> None:
        self.ended.append(org_id)

    async def read(self, topic_partition: TopicPartition) -> Position:
        self.asked.append(topic_partition)
        if self.error is not None:
            raise self.error
        return self.committed


def decided(whose: int | None, at: float) -> Position:
    return Position(0, with_retry(NOTHING, whose, int(at * 1000)))


@pytest.mark.parametrize("whose", [310, None])
async def test_a_decision_ends_a_pause_once(whose: int | None, caplog: pytest.LogCaptureFixture) -> None:
    """It is one organisation's, or every one's; the next decision about it counts again."""
    worker = Worker(State.OPEN)
    worker.committed = decided(whose, NOW - 1)
    await worker.retries.look()
    await worker.retries.look()
    assert worker.ended == [whose]
    worker.committed = decided(whose, NOW + 1)
    await worker.retries.look()
    assert worker.ended == [whose, whose]
    assert worker.asked == [TopicPartition("dlq", 0)] * 3
    assert [each for each in caplog.records if getattr(each, "event", "") == "lookup_retried"]


async def test_an_old_decision_ends_no_later_pause() -> None:
    """A service that breaks down again is left in peace, also by a worker that has just started."""
    worker = Worker(State.OPEN)
    worker.committed = decided(310, NOW - LookupRetries.HOLDS)
    await worker.retries.look()
    assert worker.ended == []


async def test_nobody_is_asked_while_every_breaker_is_closed() -> None:
    """The usual worker makes no request for this."""
    worker = Worker(State.CLOSED)
    worker.committed = decided(310, NOW)
    await worker.retries.look()
    assert worker.asked == []


async def test_a_cluster_that_does_not_answer_changes_nothing() -> None:
    """It is asked again later."""
    worker = Worker(State.HALF_OPEN)
    worker.error = KafkaConnectionError()
    await worker.retries.look()
    worker.error, worker.committed = None, decided(310, NOW)
    await worker.retries.look()
    assert worker.ended == [310]
