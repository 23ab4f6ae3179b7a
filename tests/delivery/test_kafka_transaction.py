"""Transactions on a real cluster."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, KafkaError
from aiokafka.protocol.transaction import EndTxnRequest

from streams.delivery import transaction_driver
from streams.delivery.batches import fill_batches
from streams.delivery.kafka_transaction import KafkaTransactions
from streams.delivery.offsets import Offsets
from streams.delivery.record_clock import RecordClock
from streams.delivery.topic_limits import ORDINARY_BYTES, TopicLimits
from streams.delivery.transaction import (
    BatchRefused,
    Fenced,
    Outgoing,
    Position,
    RecordRefused,
    RecordTooLarge,
    TopicFault,
    TransactionFailed,
)
from streams.delivery.transaction_protocol import FiveRequests
from streams.delivery.transaction_requests import ApiVersionsRequest_v3
from streams.kafka.record_batches import read_any_batch
from streams.sandbox.kafka import EmbeddedKafka
from tests.chaos.reading import open_transactions, read_all
from tests.clients import happens, make_topics
from tests.contract.stored import Batch, batches
from tests.timing import in_time, until

pytestmark = pytest.mark.kafka

LIMIT = 1_048_588


class Cluster:
    """One test's topics and group, and what it needs to look at them."""

    def __init__(self, kafka: EmbeddedKafka, name: str) -> None:
        self.kafka = kafka
        self.connection = {"bootstrap_servers": kafka.bootstrap_servers}
        self.group = f"group-{name}"
        self.place = TopicPartition(f"actions-{name}", 0)
        self.emails = f"emails-{name}"
        self.dead_letters = f"dead-letters-{name}"
        self.limits = TopicLimits({self.emails: LIMIT, self.dead_letters: LIMIT}, reduced=[self.dead_letters])
        self.offsets = Offsets(self.group, self.connection)
        self.admin = AIOKafkaAdminClient(**self.connection)
        self.made: list[KafkaTransactions] = []

    def transactions(self, timeout: float = 10.0, **options: Any) -> KafkaTransactions:
        """Another one of the same partition, as another worker would have it."""
        arguments = {
            "group": self.group,
            "connection": self.connection,
            "committed": self.offsets.committed,
            "limits": self.limits,
            "transaction_timeout": timeout,
        }
        self.made.append(KafkaTransactions(self.place, **(arguments | options)))
        return self.made[-1]

    async def is_answered(self) -> bool:
        """Whether the group's coordinator says what is committed."""
        try:
            await self.offsets.committed(self.place)
        except KafkaError:
            return False
        return True

    async def opened(self, **options: Any) -> KafkaTransactions:
        transactions = self.transactions(**options)
        await transactions.open()
        return transactions

    def email(self, value: bytes, topic: str | None = None) -> Outgoing:
        return Outgoing(topic or self.emails, b"310:ref", value, [])

    async def read(self, topic: str, partition: int = 0) -> list[Any]:
        """All records that a reader of committed data sees, once no transaction is open there."""
        await self.no_open_transaction_on(topic, partition)
        records: list[Any] = []
        await read_all(self.kafka.bootstrap_servers, topic, 2, records.append)
        return [record for record in records if record.partition == partition]

    async def values(self, topic: str | None = None) -> list[bytes]:
        return [record.value for record in await self.read(topic or self.emails)]

    async def no_open_transaction_on(self, topic: str, partition: int = 0) -> None:
        """Wait until none is open; the broker writes the markers just after a transaction's end.

        Fails long before a time-out could have ended one; a broker that was paused takes its seconds.
        """
        until = time.monotonic() + 6.0
        while await self.open_transaction_on(topic, partition):
            assert time.monotonic() < until

    async def open_transaction_on(self, topic: str, partition: int = 0) -> bool:
        """Whether readers of committed data wait for something there."""
        found = await open_transactions(self.kafka.bootstrap_servers, [topic], 2)
        return f"{topic}/{partition}" in found

    async def limit(self, topic: str, value: int) -> None:
        """Set max.message.bytes of `topic`."""
        await self.configure(topic, "max.message.bytes", str(value))

    async def configure(self, topic: str, name: str, value: str) -> None:
        """Set a configuration of `topic`, and wait until the broker goes by it."""
        await self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])
        ask = ConfigResource(ConfigResourceType.TOPIC, topic)
        while True:
            (answer,) = await self.admin.describe_configs([ask])
            entries = {entry[0]: entry[1] for entry in answer.resources[0][4]}
            if entries[name] == value:
                return
            await asyncio.sleep(0.05)


#: What each version of the transaction protocol does in its own way.
in_both_versions = pytest.mark.parametrize("version", [2, 1])


@pytest.fixture
def version() -> int:
    """The highest version of the protocol that this machine's Kafka speaks."""
    return 2


@pytest.fixture(autouse=True)
def protocol(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speak version 1, as with a cluster whose feature transaction.version is not at 2."""
    if version == 1:
        monkeypatch.setattr(transaction_driver, "spoken", lambda _: FiveRequests())


@pytest.fixture
async def cluster(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> AsyncIterator[Cluster]:
    accidents: list[str] = []  # what asyncio would log as errors
    asyncio.get_running_loop().set_exception_handler(lambda _, context: accidents.append(context["message"]))
    cluster = Cluster(kafka, unique_name("transactions"))
    await cluster.admin.start()
    await make_topics(kafka.bootstrap_servers, 2, cluster.place.topic, cluster.emails, cluster.dead_letters)
    await cluster.offsets.start()
    await happens(cluster.is_answered)  # of a cluster that has just started, the coordinator is still loading
    yield cluster
    for transactions in cluster.made:
        await transactions.close()
    await cluster.offsets.stop()
    await cluster.admin.close()
    gc.collect()
    assert accidents == []


def epoch(transactions: KafkaTransactions) -> tuple[int, int]:
    assert transactions._driver is not None
    return transactions._driver.identity[1:]


async def leave_open(transactions: KafkaTransactions, record: Outgoing) -> None:
    """Write a record as commit does, and stop halfway, as a worker does that dies."""
    driver = transactions._driver
    assert driver is not None
    limits = transactions._limits.now
    await transactions._write(driver, fill_batches(driver.producer, [record], 0, limits), [record], 0.0)


def telling(limits: dict[str, int]) -> Callable[[], Awaitable[dict[str, int]]]:
    """Return what looks at the topics' limits: it finds these."""

    async def look() -> dict[str, int]:
        return dict(limits)

    return look


# -- what a commit does -------------------------------------------------------------------------------------


@in_both_versions
async def test_records_and_offset_become_visible_together(cluster: Cluster) -> None:
    """One transaction writes both topics, keys, headers, and the offset with its metadata."""
    transactions = cluster.transactions()
    assert await transactions.open() == Position(None, "")
    records = [
        Outgoing(cluster.emails, b"310:a", b"one", [("ce_id", b"1"), ("variant", b"two_button")]),
        Outgoing(cluster.dead_letters, None, b"bad", [("ce_id", b"2"), ("ce_id", b"twice")]),
        Outgoing(cluster.emails, b"310:b", b"two", []),
    ]
    await transactions.commit(records, 3, "cs1.some.text")
    emails = await cluster.read(cluster.emails)
    assert [(record.key, record.value, list(record.headers)) for record in emails] == [
        (record.key, record.value, record.headers) for record in records[::2]
    ]
    (dead,) = await cluster.read(cluster.dead_letters)
    assert (dead.key, dead.value, list(dead.headers)) == (None, b"bad", records[1].headers)
    assert await transactions.open() == Position(3, "cs1.some.text")


async def test_a_partition_may_be_given_and_the_time_is_that_of_writing(cluster: Cluster) -> None:
    """A record goes to its source's partition, unless it says otherwise."""
    transactions = await cluster.opened()
    before = time.time() * 1000
    elsewhere = Outgoing(cluster.emails, b"k", b"elsewhere", [], partition=1)
    await transactions.commit([cluster.email(b"here"), elsewhere, cluster.email(b"too")], 3, "")
    here = await cluster.read(cluster.emails, 0)
    assert [record.value for record in here] == [b"here", b"too"]
    (there,) = await cluster.read(cluster.emails, 1)
    assert there.value == b"elsewhere"
    for record in (*here, there):
        assert before - 1 <= record.timestamp <= time.time() * 1000 + 1


async def test_header_names_that_are_not_utf_8_are_written_as_they_were_read(cluster: Cluster) -> None:
    """Their bytes stay, and the records before and behind stay in their order."""
    read_any_batch()
    transactions = await cluster.opened()
    odd = [("n\udce4me", b"1"), ("", None), ("ok", b"2")]
    records = [
        cluster.email(b"one"),
        cluster.email(b"two")._replace(headers=odd),
        cluster.email(b"three"),
        cluster.email(b"four")._replace(headers=odd),
    ]
    await transactions.commit(records, 4, "")
    emails = await cluster.read(cluster.emails)
    assert [record.value for record in emails] == [b"one", b"two", b"three", b"four"]
    assert [list(record.headers) for record in emails] == [[], odd, [], odd]


@in_both_versions
async def test_an_offset_alone_can_be_committed(cluster: Cluster) -> None:
    """Progress without records is a transaction too."""
    transactions = await cluster.opened()
    await transactions.commit([], 5, "")
    assert await transactions.open() == Position(5, "")
    assert await cluster.values() == []


@in_both_versions
async def test_more_than_one_batch_is_one_transaction_in_order(cluster: Cluster) -> None:
    """Three megabytes leave in several produce requests, in order, with one commit marker behind them."""
    transactions = await cluster.opened()
    values = [b"%06d" % number + b"x" * 1000 for number in range(3000)]
    await transactions.commit([cluster.email(value) for value in values], 3000, "")
    assert await cluster.values() == values
    extent = await cluster.offsets.extents([TopicPartition(cluster.emails, 0)])
    assert extent[TopicPartition(cluster.emails, 0)].end == 3001


async def test_batches_respect_a_topics_own_small_limit(cluster: Cluster) -> None:
    """Where a topic takes less than the usual batch, many small records still pass, none is refused."""
    await cluster.limit(cluster.emails, 20_000)
    transactions = await cluster.opened(limits=TopicLimits({cluster.emails: 20_000}))
    values = [b"%06d" % number + b"x" * 1000 for number in range(100)]
    await transactions.commit([cluster.email(value) for value in values], 100, "")
    assert await cluster.values() == values


async def test_one_producer_writes_emails_and_offsets_and_nothing_outside_transactions(
    cluster: Cluster,
) -> None:
    """In the broker's files every batch is transactional, of the producer that also wrote the offset."""
    transactions = await cluster.opened()
    before = {
        path.name: len(list(batches(cluster.kafka.folder, path.name)))
        for path in cluster.kafka.folder.glob("**/__consumer_offsets-*")
    }
    await transactions.commit([cluster.email(b"one")], 1, "")
    await transactions.commit([cluster.email(b"two")], 2, "")
    producer_id, _ = epoch(transactions)
    await transactions.open()  # waits until the last transaction's markers are written everywhere
    emails = list(batches(cluster.kafka.folder, f"{cluster.emails}-0"))
    controls = (False, True, False, True)
    assert emails == [Batch(producer_id, "none", transactional=True, control=each) for each in controls]
    offsets = [
        batch
        for path in cluster.kafka.folder.glob("**/__consumer_offsets-*")
        for batch in list(batches(cluster.kafka.folder, path.name))[before.get(path.name, 0) :]
        if batch.producer_id == producer_id
    ]
    assert offsets == emails


# -- fencing ------------------------------------------------------------------------------------------------


@in_both_versions
async def test_opening_fences_the_predecessor(cluster: Cluster) -> None:
    """The predecessor's next commit raises Fenced and leaves nothing; the successor's is undisturbed."""
    old = await cluster.opened()
    await old.commit([cluster.email(b"old")], 1, "")
    new = cluster.transactions()
    assert await new.open() == Position(1, "")
    with pytest.raises(Fenced):
        await old.commit([cluster.email(b"zombie")], 2, "")
    await new.commit([cluster.email(b"new")], 2, "")
    assert await cluster.values() == [b"old", b"new"]
    assert await new.open() == Position(2, "")


async def test_fenced_transactions_can_be_opened_again(cluster: Cluster) -> None:
    """Opening takes the partition back, with what the other one committed meanwhile."""
    one, two = await cluster.opened(), await cluster.opened()
    await two.commit([cluster.email(b"two")], 1, "meta")
    with pytest.raises(Fenced):
        await one.commit([cluster.email(b"zombie")], 1, "")
    assert await one.open() == Position(1, "meta")
    await one.commit([cluster.email(b"one")], 2, "")
    with pytest.raises(Fenced):
        await two.commit([cluster.email(b"zombie")], 2, "")
    assert await cluster.values() == [b"two", b"one"]


async def test_other_partitions_and_groups_are_not_fenced(cluster: Cluster) -> None:
    """The id is made of group, topic and partition: another group's worker has its own."""
    one = await cluster.opened()
    two = await cluster.opened(group=f"{cluster.group}-staging")
    await one.commit([cluster.email(b"one")], 1, "")
    await two.commit([cluster.email(b"two")], 1, "")
    await one.commit([cluster.email(b"three")], 2, "")
    assert await cluster.values() == [b"one", b"two", b"three"]


@in_both_versions
async def test_opening_ends_what_a_predecessor_left_open(cluster: Cluster) -> None:
    """A dead worker's open transaction is aborted: readers of committed data go on at once."""
    dead = await cluster.opened()
    await leave_open(dead, cluster.email(b"never"))
    assert await cluster.open_transaction_on(cluster.emails)
    successor = await cluster.opened()
    await cluster.no_open_transaction_on(cluster.emails)
    await successor.commit([cluster.email(b"one")], 1, "")
    assert await cluster.values() == [b"one"]


# -- records that are too large -----------------------------------------------------------------------------


async def test_a_record_over_its_topics_limit_is_named_and_nothing_is_written(cluster: Cluster) -> None:
    """RecordTooLarge tells which; the same transactions go on without being opened again."""
    transactions = await cluster.opened()
    records = [cluster.email(b"one"), cluster.email(b"x" * LIMIT), cluster.email(b"two")]
    with pytest.raises(RecordTooLarge) as refused:
        await transactions.commit(records, 3, "")
    assert (refused.value.index, refused.value.limit) == (1, LIMIT)
    assert await cluster.values() == []
    await cluster.no_open_transaction_on(cluster.emails)
    await transactions.commit(records[::2], 3, "")
    assert await cluster.values() == [b"one", b"two"]


async def test_a_record_as_large_as_its_topic_takes_is_written(cluster: Cluster) -> None:
    """The batches are measured as the broker does, to the byte: one more is refused here, not there."""
    transactions = await cluster.opened()
    size = LIMIT
    while True:  # from the record's limit down to the first value that we let pass
        try:
            await transactions.commit([cluster.email(b"x" * size)], 1, "")
        except RecordTooLarge:
            size -= 1
        else:
            break
    assert LIMIT - 100 < size < LIMIT
    assert [len(value) for value in await cluster.values()] == [size]


async def test_a_topic_whose_limit_nobody_tells_costs_only_what_is_too_large(cluster: Cluster) -> None:
    """Batches shrink until one record stands alone; it alone is refused, the others are written once."""
    await cluster.limit(cluster.emails, ORDINARY_BYTES)
    limits = TopicLimits({cluster.emails: LIMIT, cluster.dead_letters: LIMIT}, guessed=[cluster.emails])
    transactions = await cluster.opened(limits=limits)
    records = [cluster.email(b"%03d" % number + b"x" * 5_000) for number in range(50)]
    records[30] = cluster.email(b"y" * (ORDINARY_BYTES + 1_000))
    refused = []
    for _ in range(20):  # as a lane does it
        try:
            await transactions.commit(records, 50, "")
            break
        except RecordTooLarge as oversize:
            refused.append(records[oversize.index].value)
            records[oversize.index] = cluster.email(b"refused", cluster.dead_letters)
        except TransactionFailed:
            await cluster.no_open_transaction_on(cluster.emails)
            assert await transactions.open() == Position(None, "")
    assert refused == [b"y" * (ORDINARY_BYTES + 1_000)]
    assert await cluster.values() == [record.value for record in records if record.topic == cluster.emails]
    assert await cluster.values(cluster.dead_letters) == [b"refused"]


@pytest.mark.parametrize("known", [LIMIT, 500], ids=["lowered while running", "low from the start"])
async def test_a_record_that_fitted_waits_until_its_topics_limit_is_raised_again(
    cluster: Cluster, known: int
) -> None:
    """It is no fault of the record: the topic and its limit are named, and each record is written once."""
    await cluster.limit(cluster.emails, 500)

    there = {cluster.emails: 500, cluster.dead_letters: LIMIT}
    clock = iter(range(1_000)).__next__
    limits = TopicLimits(there | {cluster.emails: known}, look=telling(there), clock=clock)
    transactions = await cluster.opened(limits=limits)
    records = [cluster.email(b"%03d" % number + b"x" * 600) for number in range(20)]
    failures: list[TransactionFailed] = []
    while not any(isinstance(each, TopicFault) for each in failures[:-1]):  # as a lane does it
        with pytest.raises(TransactionFailed) as failure:
            await transactions.commit(records, 20, "")
        failures.append(failure.value)
        await cluster.no_open_transaction_on(cluster.emails)
        await transactions.open()
    assert f"topic {cluster.emails} takes records of 500 bytes at most" in str(failures[-1])
    assert failures[-1].kind == "TopicLimitLowered"
    there[cluster.emails] = LIMIT
    await cluster.limit(cluster.emails, LIMIT)
    while not await commits(transactions, records):
        pass
    assert await cluster.values() == [record.value for record in records]
    assert await cluster.values(cluster.dead_letters) == []


async def test_a_record_that_fits_the_raised_limit_of_its_topic_is_written(cluster: Cluster) -> None:
    """A limit that was raised while the worker runs is found before a record is called too large."""
    await cluster.limit(cluster.emails, 3 * LIMIT)
    look = telling({cluster.emails: 3 * LIMIT})
    transactions = await cluster.opened(limits=TopicLimits({cluster.emails: LIMIT}, look=look))
    records = [cluster.email(b"x" * 2 * LIMIT)]
    with pytest.raises(TransactionFailed, match="TopicLimitRaised"):
        await transactions.commit(records, 1, "")
    await transactions.open()
    await transactions.commit(records, 1, "")
    assert [len(value or b"") for value in await cluster.values()] == [2 * LIMIT]


async def test_a_wrong_clock_delays_a_record_and_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker refuses the machine's time: the record leaves with another one, and the clock is named."""
    clock = RecordClock()
    transactions = await cluster.opened(clock=clock)
    records = [cluster.email(b"one"), cluster.email(b"two")]
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 2.5 * 3600)
    with pytest.raises(BatchRefused, match="InvalidTimestampError"):
        await transactions.commit(records, 2, "")
    while not await commits(transactions, records):
        assert "ahead of the brokers' clock" in (clock.fault or "")
    monkeypatch.undo()
    assert await cluster.values() == [b"one", b"two"]


async def commits(transactions: KafkaTransactions, records: list[Outgoing]) -> bool:
    """Open again and write the records, as a lane does; return whether that was done."""
    await transactions.open()
    try:
        await transactions.commit(records, len(records), "")
    except TransactionFailed:
        return False
    return True


async def test_a_topic_that_is_not_there_is_named(cluster: Cluster) -> None:
    """The client library only reports a time-out; the failure says which topic has gone."""
    there = {cluster.emails: LIMIT}
    limits = TopicLimits(there | {"gone": LIMIT}, look=telling(there))
    transactions = await cluster.opened(limits=limits, timeout=2.0)
    with pytest.raises(TopicFault, match="topic gone is not there"):
        await transactions.commit([cluster.email(b"one", "gone")], 1, "")


@pytest.mark.parametrize("bad", [{0}, {49}, {17, 18, 31}])
async def test_a_record_that_the_broker_refuses_is_found_and_the_others_are_written(
    cluster: Cluster, bad: set[int]
) -> None:
    """A compacted topic takes no record without a key: halving the batch finds it, and only it changes."""
    await cluster.configure(cluster.dead_letters, "cleanup.policy", "compact")
    transactions = await cluster.opened()
    records = [
        cluster.email(b"%03d" % number, cluster.dead_letters if number % 2 or number in bad else None)
        for number in range(50)
    ]
    for number in bad:
        records[number] = records[number]._replace(key=None)
    rounds, refused, kinds = 0, set(), set()
    while True:  # as a lane does it
        rounds += 1
        assert rounds < 40
        try:
            await transactions.commit(records, 50, "")
            break
        except RecordRefused as found:
            refused.add(found.index)
            kinds.add(type(found))
            records[found.index] = records[found.index]._replace(key=b"its own")
        except TransactionFailed:
            await cluster.no_open_transaction_on(cluster.dead_letters)
            assert await transactions.open() == Position(None, "")
    assert (refused, kinds) == (bad, {RecordRefused})
    for topic in (cluster.emails, cluster.dead_letters):
        assert await cluster.values(topic) == [each.value for each in records if each.topic == topic]


# -- failures -----------------------------------------------------------------------------------------------


def tamper(monkeypatch: pytest.MonkeyPatch, kind: Any, how: Callable[[Callable[..., Any]], Any]) -> list[int]:
    """Let the first request of this kind, of any client made from now on, go through `how` instead."""
    original = AIOKafkaClient.send
    seen: list[int] = []

    async def send(self: AIOKafkaClient, node_id: int, request: Any, **kwargs: Any) -> Any:
        async def go_on() -> Any:
            return await original(self, node_id, request, **kwargs)

        if request.API_KEY == kind.API_KEY:
            seen.append(1)
            if len(seen) == 1:
                return await how(go_on)
        return await go_on()

    monkeypatch.setattr(AIOKafkaClient, "send", send)
    return seen


async def lose_the_answer(go_on: Callable[..., Any]) -> Any:
    await go_on()
    raise KafkaConnectionError("the broker hung up")


@in_both_versions
async def test_after_a_lost_answer_a_new_epoch_comes_before_the_next_transaction(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client repeats the request in silence and succeeds; yet the next commit asks for opening first."""
    seen = tamper(monkeypatch, EndTxnRequest, lose_the_answer)
    transactions = await cluster.opened()
    first = epoch(transactions)
    await transactions.commit([cluster.email(b"one")], 1, "")
    assert len(seen) >= 2  # while it still writes its markers, the broker lets the client ask again
    with pytest.raises(TransactionFailed, match="AnswerLost"):
        await transactions.commit([cluster.email(b"two")], 2, "")
    assert await transactions.open() == Position(1, "")
    assert epoch(transactions) > first
    await transactions.commit([cluster.email(b"two")], 2, "")
    assert await cluster.values() == [b"one", b"two"]


async def test_with_version_2_each_transaction_begins_a_new_epoch(cluster: Cluster) -> None:
    """This Kafka's feature transaction.version is at 2, and it is used (KIP-890)."""
    transactions = await cluster.opened()
    producer_id, first = epoch(transactions)
    for offset in (1, 2):
        await transactions.commit([cluster.email(b"one")], offset, "")
        assert epoch(transactions) == (producer_id, first + offset)


async def test_a_broker_that_cannot_be_asked_for_features_is_spoken_to_in_version_1(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that was never sent is no lost answer: every transaction commits, in one epoch."""
    monkeypatch.setattr(ApiVersionsRequest_v3, "API_VERSION", 99)
    transactions = await cluster.opened()
    first = epoch(transactions)
    for offset in (1, 2):
        await transactions.commit([cluster.email(b"one")], offset, "")
    assert epoch(transactions) == first


async def test_a_zombie_that_lost_an_answer_does_not_fence_its_successor(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only opening takes an epoch: a commit never does, or it would write what the successor has written."""
    tamper(monkeypatch, EndTxnRequest, lose_the_answer)
    zombie = await cluster.opened()
    await zombie.commit([cluster.email(b"one")], 1, "")
    successor = await cluster.opened()
    await successor.commit([cluster.email(b"two")], 2, "")
    with pytest.raises(TransactionFailed):
        await zombie.commit([cluster.email(b"two")], 2, "")
    await successor.commit([cluster.email(b"three")], 3, "")
    assert await cluster.values() == [b"one", b"two", b"three"]


async def in_the_end(transactions: KafkaTransactions) -> Position:
    """Open as a lane does, which tries again: a broker or a producer that hung may need its time."""
    for _ in range(30):
        try:
            return await transactions.open()
        except TransactionFailed:
            await asyncio.sleep(0.2)
    return await transactions.open()


@pytest.mark.parametrize("effect", [True, False])
async def test_a_transaction_that_takes_longer_than_its_timeout_fails_and_opening_tells_how_it_ended(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, effect: bool
) -> None:
    """The commit gives up in time; what opening returns is final, whether the end request arrived or not."""

    async def hang(go_on: Callable[..., Any]) -> Any:
        if effect:
            await go_on()
        await asyncio.sleep(60)

    tamper(monkeypatch, EndTxnRequest, hang)
    transactions = await cluster.opened(timeout=2.0)
    async with in_time(2.0, slack=1.5):
        with pytest.raises(TransactionFailed):
            await transactions.commit([cluster.email(b"one")], 1, "meta")
    assert await in_the_end(transactions) == (Position(1, "meta") if effect else Position(None, ""))
    if not effect:
        await transactions.commit([cluster.email(b"one")], 1, "meta")
    assert await cluster.values() == [b"one"]


async def test_a_refused_connection_is_a_failed_transaction_in_bounded_time(
    cluster: Cluster, unused_tcp_port: int
) -> None:
    """With no broker there, opening fails within the timeout, and closing is at once."""
    transactions = cluster.transactions(
        timeout=2.0, connection={"bootstrap_servers": f"127.0.0.1:{unused_tcp_port}"}
    )
    async with in_time(2.0, slack=1.0):
        with pytest.raises(TransactionFailed):
            await transactions.open()
    async with in_time(0.0, slack=1.0):
        await transactions.close()


async def test_a_commit_without_opening_is_a_failed_transaction(cluster: Cluster) -> None:
    """There is nothing to write with; opening is the way out, as of every failure."""
    transactions = cluster.transactions()
    with pytest.raises(TransactionFailed):
        await transactions.commit([], 1, "")


async def test_a_committed_position_that_cannot_be_read_is_a_failed_transaction(cluster: Cluster) -> None:
    """Opening never returns without knowing what is committed; the text has the class only."""

    async def unreadable(_: TopicPartition) -> Position:
        raise KafkaConnectionError("ana@example.org")

    transactions = cluster.transactions(committed=unreadable)
    with pytest.raises(TransactionFailed, match=r"^KafkaConnectionError$"):
        await transactions.open()


async def test_a_broker_that_hangs_holds_up_nothing_for_long(cluster: Cluster) -> None:
    """Commit, open and close end within their limits, leave no task behind, and afterwards all is well."""
    transactions = await cluster.opened(timeout=2.0)
    await transactions.commit([cluster.email(b"one")], 1, "")
    (broker,) = cluster.kafka.brokers
    tasks = len(asyncio.all_tasks())
    cluster.kafka.pause(broker)
    try:
        for attempt in (transactions.commit([cluster.email(b"two")], 2, ""), transactions.open()):
            async with in_time(7.0, slack=0.0):
                with pytest.raises(TransactionFailed):
                    await attempt
        async with in_time(5.0, slack=0.0):
            await transactions.close()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        left = [task for task in asyncio.all_tasks() if "aiokafka" in str(task.get_coro())]
        assert len(asyncio.all_tasks()) <= tasks, left
    finally:
        cluster.kafka.resume(broker)
    successor = cluster.transactions()
    # The broker may have had the whole transaction when it fell silent: opening tells, as it tells a lane.
    if (await in_the_end(successor)).offset == 1:
        await successor.commit([cluster.email(b"two")], 2, "")
    assert await cluster.values() == [b"one", b"two"]


# -- closing ------------------------------------------------------------------------------------------------


def sockets() -> int:
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except OSError:
            continue
    return count


async def test_closing_lets_go_of_every_connection_and_task(cluster: Cluster) -> None:
    """However often it was opened, used and fenced, closed transactions leave nothing."""
    await cluster.offsets.committed(cluster.place)
    before, tasks = sockets(), len(asyncio.all_tasks())
    for _ in range(3):
        transactions = await cluster.opened()
        await transactions.commit([cluster.email(b"one")], 1, "")
        other = await cluster.opened()
        with pytest.raises(Fenced):
            await transactions.commit([cluster.email(b"one")], 1, "")
        await transactions.open()
        await transactions.close()
        await transactions.close()
        await other.close()
    await until(lambda: sockets() <= before and len(asyncio.all_tasks()) <= tasks)
    assert sockets() <= before
    assert len(asyncio.all_tasks()) == tasks


@in_both_versions
async def test_closing_ends_an_open_transaction(cluster: Cluster) -> None:
    """Readers of committed data need not wait for the time-out of a worker that was stopped."""
    transactions = await cluster.opened()
    await leave_open(transactions, cluster.email(b"never"))
    assert await cluster.open_transaction_on(cluster.emails)
    await transactions.close()
    await cluster.no_open_transaction_on(cluster.emails)
    assert await cluster.values() == []


async def test_closing_while_cancelled_still_disconnects(cluster: Cluster) -> None:
    """A task that is cancelled while it lets go of its producer leaves no connection."""
    await cluster.offsets.committed(cluster.place)
    before = sockets()
    transactions = await cluster.opened()
    assert transactions._driver is not None
    producer = transactions._driver.producer

    stopping = asyncio.Event()

    async def never() -> None:
        stopping.set()
        await asyncio.sleep(60)

    producer._closed = True  # what a real stop does first
    producer.stop = never  # a producer that waits for a broker that hangs
    closing = asyncio.create_task(transactions.close())
    await asyncio.wait_for(stopping.wait(), 10)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await until(lambda: sockets() <= before)
    assert sockets() <= before


async def test_a_bug_of_ours_is_raised_as_it_is_and_one_of_the_client_library_may_pass(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug ends the worker, which says why: tried again for ever, it would stop a partition in silence."""
    transactions = await cluster.opened()
    no_record: Any = None
    with pytest.raises(TypeError):
        await transactions.commit([no_record], 1, "")

    await transactions.open()
    assert transactions._driver is not None
    transactions._driver._protocol, transactions._membership = FiveRequests(), (1, "member", None)
    with pytest.raises(AssertionError, match="takes_membership"):
        await transactions.commit([cluster.email(b"one")], 1, "")
    await transactions.open()

    async def write(*_: Any) -> list[None]:
        raise AttributeError("outside of this package")

    monkeypatch.setattr(transactions._driver, "write", write)
    with pytest.raises(TransactionFailed, match="AttributeError"):
        await transactions.commit([cluster.email(b"one")], 1, "")
    assert await transactions.open() == Position(None, "")
    await transactions.commit([cluster.email(b"one")], 1, "")
    assert await cluster.values() == [b"one"]


async def test_a_group_that_may_not_be_read_now_is_named_and_may_be_read_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right can be given back: it is tried again, and the sentence names right and group."""
    transactions = await cluster.opened()

    async def commit(*_: Any) -> None:
        raise GroupAuthorizationFailedError(cluster.group)

    monkeypatch.setattr(transactions._driver, "commit", commit)
    with pytest.raises(TransactionFailed, match=f"Read on group {cluster.group}"):
        await transactions.commit([cluster.email(b"one")], 1, "")
    await transactions.open()
    await transactions.commit([cluster.email(b"one")], 1, "")
    assert await cluster.values() == [b"one"]
