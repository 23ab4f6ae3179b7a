"""Transactions of several partitions on a real cluster: all or nothing, exactly once, whatever happens."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from streams.delivery import kafka_transaction, transaction_driver
from streams.delivery.commit_slots import CommitSlots
from streams.delivery.kafka_transaction import ALWAYS, KafkaTransactions
from streams.delivery.offsets import Offsets
from streams.delivery.record_clock import RecordClock
from streams.delivery.transaction import (
    Fenced,
    NotBegun,
    NotTogether,
    Part,
    Position,
    RecordRefused,
    RecordTooLarge,
    TransactionFailed,
)
from streams.delivery.transaction_protocol import FiveRequests
from streams.kafka.client_state import Membership, membership
from streams.sandbox.kafka import EmbeddedKafka
from tests.chaos.reading import read_all
from tests.clients import happens, make_topics
from tests.delivery.test_kafka_transaction import LIMIT, Cluster, in_the_end
from tests.faults.kafka_proxy import (
    Api,
    CutAfter,
    CutBefore,
    Duplicate,
    Fault,
    HoldRequest,
    KafkaProxy,
    LoseRequest,
    LoseResponse,
    Pass,
    Rule,
    of_transactional_id,
)
from tests.timing import Clock

pytestmark = pytest.mark.kafka

NOTHING = Position(None, "")
#: Error codes of the protocol.
ILLEGAL_GENERATION, UNSTABLE_OFFSET_COMMIT = 22, 88
#: What a broker says to the end of a transaction whose epoch is over: INVALID_PRODUCER_EPOCH,
#: INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED.
OVER = {47, 48, 49, 90}


class Group(Cluster):
    """A group that reads a topic of two partitions, and its members."""

    def __init__(self, kafka: EmbeddedKafka, name: str, proxy: KafkaProxy) -> None:
        super().__init__(kafka, name)
        self.proxied = {"bootstrap_servers": proxy.bootstrap_servers}
        self.consumers: list[AIOKafkaConsumer] = []

    async def joined(self) -> AIOKafkaConsumer:
        """Another member, once the group has given each of them its partitions."""
        consumer = AIOKafkaConsumer(
            self.place.topic,
            **self.connection,
            group_id=self.group,
            enable_auto_commit=False,
            heartbeat_interval_ms=100,
        )
        self.consumers.append(consumer)
        await consumer.start()
        await happens(self.is_settled)
        return consumer

    def is_settled(self) -> bool:
        """Whether the members have both partitions among them, in one generation."""
        has = [place for consumer in self.consumers for place in consumer.assignment()]
        generations = {consumer._coordinator.generation for consumer in self.consumers}
        return (
            len(has) == 2 and all(map(AIOKafkaConsumer.assignment, self.consumers)) and len(generations) == 1
        )

    def member(self) -> Membership | None:
        """As which the first member takes part now."""
        consumer = self.consumers[0]
        assert consumer._coordinator is not None
        return membership(consumer, consumer._coordinator.generation)

    def lane(self, partition: int, **options: Any) -> KafkaTransactions:
        """Transactions of a partition, as any worker would have them."""
        arguments: dict[str, Any] = {
            "group": self.group,
            "connection": self.connection,
            "committed": self.offsets.decided,
            "limits": self.limits,
            "transaction_timeout": 10.0,
            "member": self.member,
        }
        place = self.place._replace(partition=partition)
        self.made.append(KafkaTransactions(place, **(arguments | options)))
        return self.made[-1]

    async def lanes(self, **options: Any) -> tuple[KafkaTransactions, KafkaTransactions]:
        """Both partitions' transactions, opened for the first time; their requests pass the proxy."""
        both = (
            self.lane(0, **self.through_the_proxy(options)),
            self.lane(1, **self.through_the_proxy(options)),
        )
        assert await opened(*both) == [NOTHING, NOTHING]
        return both

    def through_the_proxy(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"connection": self.proxied, **options}

    def part(self, partition: int, value: bytes, offset: int = 1, topic: str | None = None) -> Part:
        """One record of a partition, and its offset with a metadata of its own."""
        place = self.place._replace(partition=partition)
        return Part(place, [self.email(value, topic)], offset, f"meta of {partition} at {offset}")

    async def written(self) -> list[list[bytes]]:
        """What a reader of committed data sees in each partition, once no transaction is open there."""
        for number in (0, 1):
            await self.no_open_transaction_on(self.emails, number)
        found: list[list[bytes]] = [[], []]
        await read_all(
            self.kafka.bootstrap_servers,
            self.emails,
            2,
            lambda record: found[record.partition].append(record.value),
        )
        return found

    async def positions(self) -> list[Position]:
        """What is committed for each partition, once its markers are written."""
        async with asyncio.timeout(60):  # nothing is left undecided
            return [await self.offsets.decided(self.place._replace(partition=number)) for number in (0, 1)]


@asynccontextmanager
async def grouped(kafka: EmbeddedKafka, name: str, proxy: KafkaProxy) -> AsyncIterator[Group]:
    """A group with one member, which has both partitions."""
    group = Group(kafka, name, proxy)
    await group.admin.start()
    await make_topics(kafka.bootstrap_servers, 2, group.place.topic, group.emails, group.dead_letters)
    await group.offsets.start()
    await happens(group.is_answered)
    await group.joined()
    try:
        yield group
    finally:
        for transactions in group.made:
            await transactions.close()
        for consumer in group.consumers:
            await consumer.stop()
        await group.offsets.stop()
        await group.admin.close()


@pytest.fixture
def proxy(kafka: EmbeddedKafka) -> Iterator[KafkaProxy]:
    """A proxy before the session's Kafka, with no rules yet."""
    with KafkaProxy(kafka.bootstrap_servers) as between:
        yield between


@pytest.fixture
async def group(
    kafka: EmbeddedKafka,
    unique_name: Callable[[str], str],
    proxy: KafkaProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Group]:
    """A group with one member; nothing that asyncio logs as an error may happen in it."""
    # A busy machine is no broker that does not answer.
    monkeypatch.setattr(kafka_transaction, "_TOGETHER_WITHIN", 60.0)
    accidents: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: accidents.append(context["message"]))
    async with grouped(kafka, unique_name("shared"), proxy) as made:
        yield made
    gc.collect()
    assert accidents == []


async def opened(*lanes: KafkaTransactions) -> list[Position]:
    """Open, side by side."""
    return list(await asyncio.gather(*(lane.open() for lane in lanes)))


async def alone(lane: KafkaTransactions, part: Part) -> None:
    """Commit a part in a transaction of its own partition."""
    await lane.commit(part.records, part.offset, part.metadata)


async def seated(slots: CommitSlots, lane: KafkaTransactions, part: Part) -> None:
    """Commit a part as a lane does, with whoever has the same slot."""
    async with slots.slot(lane, lambda: len(part.records), lane) as seat:
        await seat.commit(part.records, part.offset, part.metadata)


def led_by_the_first(
    slots: CommitSlots, lanes: Sequence[KafkaTransactions], parts: Sequence[Part]
) -> list[asyncio.Task[None]]:
    """Let lanes commit together; the last one that has its part leads."""
    pairs = list(zip(lanes, parts, strict=True))
    tasks = [asyncio.create_task(seated(slots, *pair)) for pair in reversed(pairs)]
    return tasks[::-1]


def committed(part: Part) -> Position:
    """What is committed for a partition once this part of it is."""
    return Position(part.offset, part.metadata)


def held(proxy: KafkaProxy, api: Api, leader: KafkaTransactions) -> Rule:
    """Hold the next such request of a leader; until it is released the broker does not have it."""
    return proxy.add(api, HoldRequest(), where=of_transactional_id(leader.transactional_id))


async def bitten(rule: Rule) -> None:
    await asyncio.to_thread(rule.wait)


async def answer_to(rule: Rule) -> Any:
    """Let go of what is held; return what the broker says to it."""
    rule.release()
    return await asyncio.to_thread(rule.wait_answered)


def codes_of_offsets(answer: Any) -> set[int]:
    return {code for _, partitions, _ in answer.topics for _, code, _ in partitions}


def ends(proxy: KafkaProxy, *lanes: KafkaTransactions) -> list[bool | None]:
    """Of each end of a transaction that these lanes asked for, whether it was to be committed."""
    return [
        seen.commits
        for lane in lanes
        for seen in proxy.transactional(lane.transactional_id)
        if seen.api == Api.END_TXN
    ]


async def dies(lane: KafkaTransactions, working: asyncio.Task[None]) -> None:
    """Let a lane's worker die: it says nothing more to any broker."""
    working.cancel()
    await asyncio.wait({working})
    await lane._abandon()


# -- together -----------------------------------------------------------------------------------------------


async def test_records_and_offsets_of_two_partitions_become_visible_together(
    group: Group, proxy: KafkaProxy
) -> None:
    """One transaction has both; afterwards each commits alone, and both together led by the other one."""
    one, two = await group.lanes()
    assert one.membership == two.membership == group.member() is not None
    first = [group.part(0, b"a"), group.part(1, b"b")]
    await one.commit_together(first)
    assert (ends(proxy, one), ends(proxy, two)) == ([True], [])
    assert await group.written() == [[b"a"], [b"b"]]
    assert await group.positions() == [committed(part) for part in first]
    for lane, part in ((two, group.part(1, b"d", 2)), (one, group.part(0, b"c", 2))):
        await alone(lane, part)
    again = [group.part(1, b"f", 3), group.part(0, b"e", 3)]
    await two.commit_together(again)
    assert await group.written() == [[b"a", b"c", b"e"], [b"b", b"d", b"f"]]
    assert await opened(two, one) == [committed(part) for part in again]


async def test_parts_that_write_to_the_same_partition_stand_there_in_their_order(group: Group) -> None:
    """Who leads comes first, and a part without records has its offset committed all the same."""
    one, two = await group.lanes()
    elsewhere = group.part(1, b"from elsewhere")
    elsewhere.records = [record._replace(partition=0) for record in elsewhere.records]
    await one.commit_together([group.part(0, b"own"), elsewhere])
    last = [Part(part.place, [], 2, "empty") for part in (elsewhere, group.part(0, b""))]
    await two.commit_together(last)
    assert await group.written() == [[b"own", b"from elsewhere"], []]
    assert await group.positions() == [Position(2, "empty"), Position(2, "empty")]


async def test_committed_offsets_never_go_back_whoever_leads(group: Group) -> None:
    """The next transaction does not wait for the last one's markers; the last one that began is the last."""
    lanes = await group.lanes()
    for offset in range(1, 61, 3):
        parts = [group.part(number, b"%d" % offset, offset) for number in (0, 1)]
        await lanes[0].commit_together(parts)
        await asyncio.gather(
            *(alone(lanes[number], group.part(number, b"%d" % (offset + 1), offset + 1)) for number in (0, 1))
        )
        last = [group.part(number, b"%d" % (offset + 2), offset + 2) for number in (1, 0)]
        await lanes[1].commit_together(last)
    assert await group.positions() == [Position(60, "meta of 0 at 60"), Position(60, "meta of 1 at 60")]
    assert await group.written() == [[b"%d" % offset for offset in range(1, 61)]] * 2


# -- membership ---------------------------------------------------------------------------------------------


async def test_a_generation_that_is_over_commits_nothing(group: Group) -> None:
    """Another member has joined: nothing is visible, no offset has moved, together and alone."""
    one, two = await group.lanes()
    before = [group.part(0, b"a"), group.part(1, b"b")]
    await one.commit_together(before)
    await group.joined()
    parts = [group.part(0, b"c", 2), group.part(1, b"d", 2)]
    with pytest.raises(Fenced):
        await one.commit_together(parts)
    with pytest.raises(Fenced):
        await alone(two, parts[1])
    assert await opened(one, two) == [committed(part) for part in before]
    assert await group.written() == [[b"a"], [b"b"]]


async def test_whoever_opens_again_goes_on_in_the_new_generation(group: Group) -> None:
    """Each commits alone, and both together."""
    one, two = await group.lanes()
    stale = one.membership
    await group.joined()
    assert await opened(one, two) == [NOTHING, NOTHING]
    assert one.membership == two.membership == group.member() != stale
    await asyncio.gather(alone(one, group.part(0, b"a")), alone(two, group.part(1, b"b")))
    parts = [group.part(1, b"d", 2), group.part(0, b"c", 2)]
    await two.commit_together(parts)
    assert await opened(two, one) == [committed(part) for part in parts]
    assert await group.written() == [[b"a", b"c"], [b"b", b"d"]]


async def test_lanes_of_two_generations_do_not_commit_together(group: Group, proxy: KafkaProxy) -> None:
    """One that was opened before the rebalance learns alone that it is over; the other one commits."""
    old, new = await group.lanes()
    await group.joined()
    await new.open()
    slots = CommitSlots()
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    ended = await asyncio.gather(
        *(seated(slots, *each) for each in zip((old, new), parts, strict=True)), return_exceptions=True
    )
    assert [type(each) for each in ended] == [Fenced, type(None)]
    assert await opened(old, new) == [NOTHING, committed(parts[1])]
    assert await group.written() == [[], [b"b"]]


async def test_a_member_that_the_group_does_not_know_commits_nothing_together(group: Group) -> None:
    """The right generation alone is no membership: nothing is visible, and no offset has moved."""
    member = group.member()
    assert member is not None
    stranger = member._replace(member_id="stranger")
    one, two = await group.lanes(member=lambda: stranger)
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    with pytest.raises(Fenced):
        await one.commit_together(parts)
    assert await opened(one, two) == [NOTHING, NOTHING]
    assert await group.written() == [[], []]


async def test_a_member_that_has_left_commits_nothing_together(group: Group) -> None:
    """A worker that the group took out, and does not know it yet, is refused."""
    member = group.member()
    one, two = await group.lanes(member=lambda: member)
    await group.consumers.pop().stop()
    with pytest.raises(Fenced):
        await one.commit_together([group.part(0, b"a"), group.part(1, b"b")])
    assert await opened(one, two) == [NOTHING, NOTHING]
    assert await group.written() == [[], []]


async def test_a_worker_without_a_membership_opens_nothing(group: Group) -> None:
    """The group has not given it anything yet: it is told to try again."""
    lane = group.lane(0, member=lambda: None)
    with pytest.raises(TransactionFailed, match="rebalancing"):
        await lane.open()
    assert lane.membership is None


async def test_who_is_no_member_shares_nothing(group: Group, proxy: KafkaProxy) -> None:
    """A command that a person runs commits with its transactional.id alone, beside the lanes."""
    lane = group.lane(0, connection=group.proxied)
    command = group.lane(1, connection=group.proxied, member=None)
    await opened(lane, command)
    assert command.membership is None
    slots = CommitSlots()
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    await asyncio.gather(*(seated(slots, *each) for each in zip((lane, command), parts, strict=True)))
    assert (ends(proxy, lane), ends(proxy, command)) == ([True], [True])
    assert await group.positions() == [committed(part) for part in parts]


async def test_a_person_s_decision_fences_a_lane_that_never_shares(group: Group) -> None:
    """`streams start-at` marks the partition of the re-keyed actions, too, whose lane may be at work."""
    lanes = group.lane(0), group.lane(1, alone=ALWAYS)
    await opened(*lanes)
    command = group.lane(1, member=None)
    await command.open()
    decision = Part(group.place._replace(partition=1), [], 7, "a person's decision")
    await alone(command, decision)
    slots = CommitSlots()
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    ended = await asyncio.gather(
        *(seated(slots, *each) for each in zip(lanes, parts, strict=True)), return_exceptions=True
    )
    assert ended[0] is None
    assert isinstance(ended[1], Fenced)
    assert await group.positions() == [committed(parts[0]), committed(decision)]


async def test_transactions_that_are_not_open_share_nothing(group: Group) -> None:
    """Neither before they are opened nor once they are closed."""
    lane = group.lane(0)
    assert lane.membership is None
    await lane.open()
    assert lane.membership is not None
    await lane.close()
    assert lane.membership is None


async def test_a_cluster_of_the_older_protocol_shares_nothing(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late request of it could get into another transaction."""
    monkeypatch.setattr(transaction_driver, "spoken", lambda _: FiveRequests())
    one, two = await group.lanes()
    assert (one.membership, two.membership) == (None, None)
    slots = CommitSlots()
    await asyncio.gather(seated(slots, one, group.part(0, b"a")), seated(slots, two, group.part(1, b"b")))
    assert await group.written() == [[b"a"], [b"b"]]


async def test_a_cluster_that_goes_back_to_the_older_protocol_is_written_to_as_that_one_wants_it(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens again forgets its membership, for which the older protocol has no place."""
    one, _ = await group.lanes()
    assert one.membership is not None
    monkeypatch.setattr(transaction_driver, "spoken", lambda _: FiveRequests())
    await one.open()
    assert one.membership is None
    await alone(one, group.part(0, b"a"))
    assert (await group.written())[0] == [b"a"]


async def test_a_common_transaction_that_takes_too_long_is_nobody_s_own_fault(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on alone, with all that it has ready: it is not told that its own part was too large."""
    one, _ = await group.lanes()
    monkeypatch.setattr(kafka_transaction, "_TOGETHER_WITHIN", 0.0)
    with pytest.raises(NotTogether):
        await one.commit_together([group.part(0, b"a"), group.part(1, b"b")])


async def test_a_clock_that_is_right_again_is_noticed_by_a_common_transaction(group: Group) -> None:
    """The broker takes the machine's own time again, and nothing is said of the clock any more."""
    monotonic = Clock()
    clock = RecordClock(monotonic=monotonic)
    clock.refused(0.0)
    assert clock.fault is not None
    monotonic.now = 3600.0  # it is looked again without a correction
    one, _ = await group.lanes(clock=clock)
    await one.commit_together([group.part(0, b"a"), group.part(1, b"b")])
    assert clock.fault is None


# -- whoever opens a partition waits until it is decided ----------------------------------------------------


@asynccontextmanager
async def undecided(
    group: Group, proxy: KafkaProxy
) -> AsyncIterator[tuple[Rule, list[Part], asyncio.Task[None]]]:
    """Have a transaction of both partitions whose offsets the coordinator has, and whose end is held."""
    leader = group.lane(0, connection=group.proxied)
    await leader.open()
    end = held(proxy, Api.END_TXN, leader)
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    commits = asyncio.create_task(leader.commit_together(parts))
    await bitten(end)
    yield end, parts, commits
    end.release()
    await asyncio.wait({commits})


@asynccontextmanager
async def asking(
    group: Group, proxy: KafkaProxy
) -> AsyncIterator[tuple[asyncio.Task[Position], KafkaTransactions]]:
    """Let a successor open partition 1, up to where it has been told twice that it is undecided."""
    offsets = Offsets(group.group, group.proxied)
    await offsets.start()
    asks = proxy.add(Api.OFFSET_FETCH, Pass(), times=None)
    successor = group.lane(1, committed=offsets.decided)
    opening = asyncio.create_task(successor.open())
    await happens(lambda: len(asks.answers) >= 2)
    assert {code for answer in asks.answers for code in codes_of_fetched(answer)} == {UNSTABLE_OFFSET_COMMIT}
    assert not opening.done()
    yield opening, successor
    await asyncio.wait({opening})
    await offsets.stop()


def codes_of_fetched(answer: Any) -> set[int]:
    return {code for _, partitions, _ in answer.topics for _, _, _, _, code, _ in partitions}


async def test_a_successor_waits_for_an_undecided_transaction_and_goes_on_behind_it(
    group: Group, proxy: KafkaProxy
) -> None:
    """The end was on its way: what the successor is told is what was committed, and it commits the next."""
    async with undecided(group, proxy) as (end, parts, commits), asking(group, proxy) as (opening, successor):
        end.release()
        assert await opening == committed(parts[1])
        await commits
        await alone(successor, group.part(1, b"c", 2))
    assert await group.written() == [[b"a"], [b"b", b"c"]]
    assert await group.positions() == [committed(parts[0]), committed(group.part(1, b"c", 2))]


async def test_a_successor_goes_on_before_a_transaction_that_its_leader_s_successor_ends(
    group: Group, proxy: KafkaProxy
) -> None:
    """Opening the leader's partition aborts it for both, and its end, come late, changes nothing."""
    async with undecided(group, proxy) as (end, parts, commits), asking(group, proxy) as (opening, successor):
        leads = group.lane(0)
        assert await leads.open() == NOTHING
        assert await opening == NOTHING
        assert (await answer_to(end)).error_code in OVER
        with pytest.raises(TransactionFailed):
            await commits
        assert await group.written() == [[], []]
        assert await group.positions() == [NOTHING, NOTHING]
        for lane, part in zip((leads, successor), parts, strict=True):
            await alone(lane, part)
    assert await group.written() == [[b"a"], [b"b"]]


async def test_a_worker_that_dies_before_the_end_leaves_both_partitions_where_they_were(
    group: Group, proxy: KafkaProxy
) -> None:
    """The leader's successor aborts the transaction, for which the other one's has waited."""
    leader = group.lane(0, connection=group.proxied)
    await leader.open()
    end = held(proxy, Api.END_TXN, leader)
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    commits = asyncio.create_task(leader.commit_together(parts))
    await bitten(end)
    await dies(leader, commits)
    async with asking(group, proxy) as (opening, other):
        successor = group.lane(0)
        assert [await successor.open(), await opening] == [NOTHING, NOTHING]
        for lane, part in zip((successor, other), parts, strict=True):
            await alone(lane, part)
        assert (await answer_to(end)).error_code in OVER
    assert await group.written() == [[b"a"], [b"b"]]
    assert await group.positions() == [committed(part) for part in parts]


# -- offsets that come late ---------------------------------------------------------------------------------


async def test_offsets_of_a_dead_leader_that_come_late_commit_nothing(
    group: Group, proxy: KafkaProxy
) -> None:
    """The successor found the old offset and wrote the records itself: they are there once."""
    leader = group.lane(0, connection=group.proxied, transaction_timeout=120.0)
    await leader.open()
    offsets = held(proxy, Api.TXN_OFFSET_COMMIT, leader)
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    commits = asyncio.create_task(leader.commit_together(parts))
    await bitten(offsets)
    await dies(leader, commits)
    other = group.lane(1, transaction_timeout=120.0)
    async with asyncio.timeout(60):  # long before the transaction's time is over
        assert await other.open() == NOTHING
    await answer_to(offsets)
    await alone(other, parts[1])
    async with asking(group, proxy) as (opening, again):
        successor = group.lane(0)
        assert await successor.open() == NOTHING
        assert await opening == committed(parts[1])
        await alone(successor, parts[0])
        await alone(again, last := group.part(1, b"c", 2))
    assert await group.written() == [[b"a"], [b"b", b"c"]]
    assert await group.positions() == [committed(parts[0]), committed(last)]


async def test_offsets_that_come_late_are_refused_once_the_group_went_on(
    group: Group, proxy: KafkaProxy
) -> None:
    """A worker that slept through a rebalance cannot commit what the partition's new owner writes."""
    leader = group.lane(0, connection=group.proxied)
    await leader.open()
    offsets = held(proxy, Api.TXN_OFFSET_COMMIT, leader)
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    commits = asyncio.create_task(leader.commit_together(parts))
    await bitten(offsets)
    await group.joined()
    other = group.lane(1)
    assert await other.open() == NOTHING
    await alone(other, parts[1])
    assert codes_of_offsets(await answer_to(offsets)) == {ILLEGAL_GENERATION}
    with pytest.raises(Fenced):
        await commits
    assert await opened(leader, other) == [NOTHING, committed(parts[1])]
    await alone(leader, parts[0])
    assert await group.written() == [[b"a"], [b"b"]]


async def test_a_part_that_is_withdrawn_before_its_offset_is_there_is_not_committed(
    group: Group, proxy: KafkaProxy
) -> None:
    """Its lane has opened again at the old offset meanwhile: the leader asks for no commit."""
    leader, other = await group.lanes()
    offsets = held(proxy, Api.TXN_OFFSET_COMMIT, leader)
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    commits = asyncio.create_task(leader.commit_together(parts))
    await bitten(offsets)
    parts[1].withdrawn = True
    assert await other.open() == NOTHING
    assert codes_of_offsets(await answer_to(offsets)) == {0}
    with pytest.raises(NotTogether):
        await commits
    assert True not in ends(proxy, leader)
    assert await opened(leader, other) == [NOTHING, NOTHING]
    assert await group.written() == [[], []]
    for lane, part in zip((leader, other), parts, strict=True):
        await alone(lane, part)
    assert await group.written() == [[b"a"], [b"b"]]


# -- records that cannot be written -------------------------------------------------------------------------


def refused(group: Group, partition: int) -> Part:
    """A part with a record without a key, which a compacted topic does not take."""
    part = group.part(partition, b"bad", topic=group.dead_letters)
    part.records = [record._replace(key=None) for record in part.records]
    return part


def too_large(group: Group, partition: int) -> Part:
    """A part with a record over its topic's limit."""
    return group.part(partition, b"x" * LIMIT)


@pytest.mark.parametrize("bad", [0, 1], ids=["of the leader", "of the other one"])
@pytest.mark.parametrize(("make", "error"), [(refused, RecordRefused), (too_large, RecordTooLarge)])
async def test_a_record_that_cannot_be_written_is_its_own_partition_s_fault(
    group: Group, bad: int, make: Callable[[Group, int], Part], error: type[RecordRefused]
) -> None:
    """Together nothing is committed; alone the one says which record it is, and the other commits."""
    await group.configure(group.dead_letters, "cleanup.policy", "compact")
    lanes = await group.lanes()
    good = 1 - bad
    parts = [group.part(0, b"good"), group.part(1, b"good")]
    parts[bad] = make(group, bad)
    with pytest.raises((NotTogether, NotBegun)):
        await lanes[0].commit_together(parts)
    assert await opened(*lanes) == [NOTHING, NOTHING]
    await alone(lanes[good], parts[good])
    with pytest.raises(error) as found:
        await alone(lanes[bad], parts[bad])
    assert (type(found.value), found.value.index) == (error, 0)
    written = await group.written()
    assert (written[bad], written[good]) == ([], [b"good"])
    assert await group.values(group.dead_letters) == []


# -- lanes that wait at the same moment ---------------------------------------------------------------------


async def test_lanes_that_have_one_slot_make_one_transaction(group: Group, proxy: KafkaProxy) -> None:
    """Both are committed by one end of a transaction, again and again."""
    lanes = await group.lanes()
    slots = CommitSlots()
    for offset in (1, 2, 3):
        parts = [group.part(number, b"%d" % offset, offset) for number in (0, 1)]
        await asyncio.gather(*(seated(slots, lane, part) for lane, part in zip(lanes, parts, strict=True)))
        assert ends(proxy, *lanes) == [True] * offset
    assert await group.written() == [[b"1", b"2", b"3"]] * 2
    assert await group.positions() == [committed(part) for part in parts]


async def test_a_lane_that_leaves_without_a_part_does_not_hold_up_the_other(
    group: Group, proxy: KafkaProxy
) -> None:
    """It has nothing to commit any more, and the other one's transaction is an ordinary one."""
    one, two = await group.lanes()
    slots = CommitSlots(at_once=1, longest=60)  # so both have the same
    comes = asyncio.Event()
    part = group.part(0, b"a")

    async def commit() -> None:
        async with slots.slot(one, lambda: 1, one) as seat:
            comes.set()
            await seat.commit(part.records, part.offset, part.metadata)

    async def leave() -> None:
        async with slots.slot(two, lambda: 1, two):
            await comes.wait()

    async with asyncio.timeout(60):
        await asyncio.gather(commit(), leave())
    assert (ends(proxy, one), ends(proxy, two)) == ([True], [])
    assert await group.positions() == [committed(part), NOTHING]


@pytest.mark.parametrize("leaving", [0, 1], ids=["leader", "other"])
async def test_a_lane_that_is_cancelled_before_the_offsets_are_there_takes_its_part_back(
    group: Group, proxy: KafkaProxy, leaving: int
) -> None:
    """Nothing of the common transaction is committed, and each goes on from the old offset, alone."""
    lanes = await group.lanes()
    slots = CommitSlots()
    offsets = held(proxy, Api.TXN_OFFSET_COMMIT, lanes[0])
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    tasks = led_by_the_first(slots, lanes, parts)
    await bitten(offsets)
    tasks[leaving].cancel()
    await asyncio.wait({tasks[leaving]})
    await answer_to(offsets)
    with pytest.raises(NotTogether):
        await tasks[1 - leaving]
    assert await opened(*lanes) == [NOTHING, NOTHING]
    assert await group.written() == [[], []]
    assert [lane.membership for lane in lanes] == [None, None]
    await asyncio.gather(*(seated(slots, *each) for each in zip(lanes, parts, strict=True)))
    assert [ends(proxy, lane).count(True) for lane in lanes] == [1, 1]
    assert await group.written() == [[b"a"], [b"b"]]


@pytest.mark.parametrize("leaving", [0, 1], ids=["leader", "other"])
async def test_a_lane_that_is_cancelled_while_the_end_is_on_its_way_finds_it_committed(
    group: Group, proxy: KafkaProxy, leaving: int
) -> None:
    """Whoever opens the partition that did not lead waits until the end has arrived."""
    lanes = await group.lanes()
    slots = CommitSlots()
    end = held(proxy, Api.END_TXN, lanes[0])
    parts = [group.part(0, b"a"), group.part(1, b"b")]
    tasks = led_by_the_first(slots, lanes, parts)
    await bitten(end)
    tasks[leaving].cancel()
    await asyncio.wait({tasks[leaving]})
    async with asking(group, proxy) as (opening, _):
        end.release()
        assert await opening == committed(parts[1])
    if leaving == 1:
        await tasks[0]
    else:
        with pytest.raises(NotTogether):
            await tasks[1]
    assert await opened(*lanes) == [committed(part) for part in parts]
    assert await group.written() == [[b"a"], [b"b"]]


# -- whatever happens ---------------------------------------------------------------------------------------

FAULTS: dict[str, Callable[[], Fault]] = {
    "request lost": LoseRequest,
    "response lost": LoseResponse,
    "late by more than the timeout": HoldRequest,
    "cut before the broker has it": CutBefore,
    "cut after the broker has it": CutAfter,
    "sent twice": Duplicate,
}


async def in_spite_of_all(slots: CommitSlots, lane: KafkaTransactions, part: Part) -> None:
    """Commit a part as a lane does: after each failure it opens again, and compares."""
    while True:
        try:
            await seated(slots, lane, part)
        except TransactionFailed:
            if await in_the_end(lane) != committed(part):
                continue
        return


@pytest.mark.parametrize("api", [Api.PRODUCE, Api.TXN_OFFSET_COMMIT, Api.END_TXN], ids=lambda api: api.name)
async def test_whatever_befalls_a_request_of_a_common_transaction_each_record_is_there_once(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], proxy: KafkaProxy, api: Api
) -> None:
    """It is lost, unanswered, late, cut off, or repeated: both lanes go on, and nothing is doubled."""

    async def suffer(fault: Fault) -> None:
        async with grouped(kafka, unique_name("shared"), proxy) as group:
            lanes = await group.lanes(transaction_timeout=2.0)
            slots = CommitSlots()
            rule = proxy.add(api, fault, where=of_transactional_id(lanes[0].transactional_id))
            for offset in (1, 2, 3):
                parts = [group.part(number, b"%d" % offset, offset) for number in (0, 1)]
                # The one that asks last leads.
                pairs = reversed(list(zip(lanes, parts, strict=True)))
                await asyncio.gather(*(in_spite_of_all(slots, *each) for each in pairs))
            assert rule.hits == 1
            if isinstance(fault, HoldRequest):
                await answer_to(rule)
            assert await opened(*lanes) == [committed(part) for part in parts]
            assert await group.written() == [[b"1", b"2", b"3"]] * 2

    await asyncio.gather(*(suffer(fault()) for fault in FAULTS.values()))
