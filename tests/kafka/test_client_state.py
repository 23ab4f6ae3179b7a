"""A consumer is read from another thread while it connects, rebalances and stops."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState

from streams.kafka.client_state import Membership, coordinator_is_known, fetch_position, membership

PARTITION = TopicPartition("actions", 0)


class Holder:
    """Has the two attributes of a consumer that are read."""

    def __init__(self, subscription: SubscriptionState) -> None:
        self._subscription = subscription
        self._coordinator = None


def assign(subscription: SubscriptionState, *partitions: TopicPartition) -> None:
    """Give a subscription the partitions, each read up to offset 7 of 9."""
    subscription.assign_from_subscribed(set(partitions))
    for each in partitions:
        state = subscription.subscription.assignment.state_value(each)
        state.highwater = 9
        state.seek(7)


@pytest.fixture
async def subscription() -> SubscriptionState:
    """A subscription to the topic of the actions."""
    made = SubscriptionState()
    made.subscribe({"actions"})
    return made


async def test_one_that_has_not_connected_knows_nothing() -> None:
    """A consumer that is not there, or has reached no broker yet, has no coordinator and no position."""
    made = AIOKafkaConsumer("actions", bootstrap_servers="127.0.0.1:1", group_id="g")
    try:
        for consumer in (None, made):
            assert not coordinator_is_known(consumer)
            assert fetch_position(consumer, PARTITION) is None
    finally:
        await made.stop()
    assert fetch_position(made, PARTITION) is None


@dataclass
class Coordinator:
    """What a consumer's coordinator knows of its own membership."""

    generation: int = 5
    member_id: str = "worker-0-abc"
    _group_instance_id: str | None = None


@pytest.mark.parametrize(
    ("coordinator", "expected"),
    [
        (None, None),
        (Coordinator(), Membership(5, "worker-0-abc", None)),
        (Coordinator(_group_instance_id="worker-0"), Membership(5, "worker-0-abc", "worker-0")),
        (Coordinator(generation=6), None),
        (Coordinator(member_id=""), None),
        (Coordinator(generation=-1, member_id=""), None),
    ],
)
def test_the_membership_is_that_of_one_generation(
    coordinator: Coordinator | None, expected: Membership | None
) -> None:
    """A consumer that has joined anew, or was thrown out, is no member of the earlier generation."""
    consumer = SimpleNamespace(_coordinator=coordinator)
    assert membership(consumer, 5) == expected
    assert membership(None, 5) is None


async def test_the_position_is_that_of_the_assignment(subscription: SubscriptionState) -> None:
    """Known is the position of an assigned partition that was fetched; none after a reset or without one."""
    assert fetch_position(Holder(subscription), PARTITION) is None
    assign(subscription, PARTITION)
    assert fetch_position(Holder(subscription), PARTITION) == (9, 7)
    assert fetch_position(Holder(subscription), TopicPartition("actions", 1)) is None
    subscription.subscription.assignment.state_value(PARTITION).await_reset(-1)
    assert fetch_position(Holder(subscription), PARTITION) is None
    subscription.unsubscribe()
    assert fetch_position(Holder(subscription), PARTITION) is None


class Changing:
    """Hands on to an object, and lets its partitions go at each read, as another thread may."""

    def __init__(self, seen: Any, subscription: SubscriptionState) -> None:
        self._seen = seen
        self._owner = subscription

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._seen, name)
        if self._owner.subscription is not None:
            self._owner.unsubscribe()
        return value


async def test_partitions_that_go_between_two_reads_harm_nothing(subscription: SubscriptionState) -> None:
    """A consumer that stops after the first read of it still gives an answer."""
    assign(subscription, PARTITION)
    consumer: Any = Holder(subscription)
    consumer._subscription = Changing(subscription, subscription)
    assert fetch_position(consumer, PARTITION) == (9, 7)
    assert fetch_position(consumer, PARTITION) is None


async def test_another_thread_reads_while_partitions_come_and_go(subscription: SubscriptionState) -> None:
    """Ten thousand rebalances, resets and stops leave the reading thread with answers only."""
    consumer: Any = Holder(subscription)
    read: set[tuple[int, int] | None] = set()
    wrong: list[BaseException] = []
    ended = threading.Event()

    def look() -> None:
        try:
            while not ended.is_set():
                read.add(fetch_position(consumer, PARTITION))
        except BaseException as exc:
            wrong.append(exc)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(10_000):
            if subscription.subscription is None:
                subscription.subscribe({"actions"})
            assign(subscription, PARTITION)
            if number % 3 == 0:
                assign(subscription)
            elif number % 3 == 1:
                subscription.subscription.assignment.state_value(PARTITION).await_reset(-1)
            else:
                subscription.unsubscribe()
            if number % 500 == 0:
                await asyncio.sleep(0)  # the other thread's turn
    finally:
        ended.set()
        reader.join()
    assert wrong == []
    assert read <= {None, (9, 7)}
