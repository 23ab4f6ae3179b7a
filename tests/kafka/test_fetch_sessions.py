"""Fetch sessions: against a broker that does what KIP-227 says, whatever happens, and on a real Kafka."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from aiokafka.structs import BrokerMetadata
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka import fetch_wire
from streams.kafka.fetch_sessions import Fetch, FetchSession, _usual, asked_in, fetch_in_sessions
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import happens, make_topics
from tests.fuzz.mutations import Sent
from tests.fuzz.wire import batches
from tests.integration.topics import producing
from tests.lookup.virtual_time import run

NOT_THERE, WRONG_EPOCH = 70, 71
OUT_OF_RANGE, UNKNOWN_TOPIC, NOT_LEADER = 1, 3, 6
FIRST, ALONE, LAST = 0, -1, 2**31 - 1  # epochs; that of a request without a session is -1

PLACES = [TopicPartition(topic, number) for topic in ("actions", "ключ") for number in range(3)]
NODES = (0, 1)

A, B, C = (TopicPartition("actions", number) for number in range(3))
STATE = SimpleNamespace()


def asked(**offsets: int) -> list[Any]:
    return [({"a": A, "b": B, "c": C}[name], STATE, offset) for name, offset in offsets.items()]


def opened(assignment: Any, **offsets: int) -> FetchSession:
    """A session that the broker has opened for these partitions."""
    session = FetchSession()
    session.changes(assignment, asked(**offsets))
    session.answered(0, 7)
    return session


def test_a_session_begins_with_everything() -> None:
    """The first request has no session and names all; the next ones have the epochs that follow."""
    session, assignment = FetchSession(), object()
    changed, forgotten = session.changes(assignment, asked(a=1, b=2))
    assert (session.id, session.epoch) == (0, FIRST)
    assert sorted(changed) == asked(a=1, b=2)
    assert not forgotten
    for epoch in (1, 2, 3):
        session.answered(0, 7)
        assert (session.id, session.epoch) == (7, epoch)
        assert session.changes(assignment, asked(a=1, b=2)) == ([], ())


def test_no_partition_is_always_the_first() -> None:
    """An answer may have room for the first ones only, and a broker without a session keeps no order."""
    firsts = {FetchSession().changes(object(), asked(a=1, b=2, c=3))[0][0][0] for _ in range(200)}
    assert firsts == {A, B, C}


def test_only_what_changed_is_named() -> None:
    """A new offset and a new partition are named, and what is not asked for any more is forgotten."""
    assignment = object()
    session = opened(assignment, a=1, b=2)
    assert session.changes(assignment, asked(a=1, b=3)) == (asked(b=3), ())
    assert session.changes(assignment, asked(b=3, c=4)) == (asked(c=4), (A,))
    assert session.changes(assignment, asked(c=4)) == ([], (B,))
    assert session.changes(assignment, asked(a=1, c=4)) == (asked(a=1), ())


def test_a_broker_that_opens_no_session_is_asked_for_everything() -> None:
    """Its answer has the session 0: each request is a first one."""
    session, assignment = FetchSession(), object()
    for _ in range(3):
        changed, forgotten = session.changes(assignment, asked(a=1, b=2))
        assert (session.id, session.epoch) == (0, FIRST)
        assert sorted(changed) == asked(a=1, b=2)
        assert not forgotten
        session.answered(0, 0)


def test_a_session_that_the_broker_closes_begins_again() -> None:
    """An answer with the session 0 to a later request ends the session."""
    assignment = object()
    session = opened(assignment, a=1)
    session.changes(assignment, asked(a=1))
    session.answered(0, 0)
    assert (session.id, session.epoch) == (0, FIRST)


@pytest.mark.parametrize(("error", "left"), [(NOT_THERE, 0), (WRONG_EPOCH, 7), (-1, 7)])
def test_after_an_error_everything_is_named(error: int, left: int) -> None:
    """The next request ends the session that the broker still has, and begins another."""
    assignment = object()
    session = opened(assignment, a=1, b=2)
    session.changes(assignment, asked(a=1, b=3))
    session.answered(error, 0)
    changed, forgotten = session.changes(assignment, asked(a=1, b=3))
    assert (session.id, session.epoch) == (left, FIRST)
    assert sorted(changed) == asked(a=1, b=3)
    assert not forgotten


def test_a_new_assignment_begins_again() -> None:
    """Its states know of no end of a log, so the broker has to tell of all of them."""
    session = opened(object(), a=1, b=2)
    changed, forgotten = session.changes(object(), asked(a=1))
    assert (session.id, session.epoch) == (7, FIRST)
    assert changed == asked(a=1)
    assert not forgotten


def test_the_epoch_after_the_last_one_is_the_second() -> None:
    """0 would begin again, and a negative one would end the session."""
    assignment = object()
    session = opened(assignment, a=1)
    session.epoch = LAST - 1
    session.answered(0, 7)
    assert session.epoch == LAST
    session.answered(0, 7)
    assert session.epoch == 1


@cache
def batch(place: TopicPartition, offset: int) -> bytes:
    """A batch of one record, which says where it is."""
    return batches([Sent(7, None, value_at(place, offset), [])], offset, 0, 1)


def value_at(place: TopicPartition, offset: int) -> bytes:
    return f"{place.topic}/{place.partition}/{offset}".encode()


@dataclass
class Log:
    """A partition's log; all brokers have the same."""

    start: int = 0
    stable: int = 0  # a reader of committed records gets those before it
    end: int = 0
    leader: int = 0
    error: int = 0


@dataclass
class Known:
    """What a broker's session has of a partition."""

    offset: int
    end: int = -1
    start: int = -1


@dataclass
class Session:
    """What a broker has of a client."""

    epoch: int
    known: dict[TopicPartition, Known] = field(default_factory=dict)


class Broker:
    """Answers as KIP-227 says, in a cluster of `logs`."""

    #: Records of an answer: the partitions behind them have to wait for the next one.
    MOST = 4

    def __init__(self, node: int, logs: dict[TopicPartition, Log]) -> None:
        self.opens = True
        self.sessions: dict[int, Session] = {}
        self.named: dict[TopicPartition, int] = {}  # in the last request
        self.forgotten: list[TopicPartition] = []
        #: What the last request made it look at; None: it did not take the request.
        self.served: dict[TopicPartition, int] | None = None
        self._node = node
        self._logs = logs
        self._ids = itertools.count(1_000 * (node + 1))

    def answer(self, request: FetchRequest_v11) -> FetchResponse_v11:
        self.named = {
            TopicPartition(topic, number): offset
            for topic, parts in request.topics
            for number, _, offset, _, _ in parts
        }
        self.forgotten = [
            TopicPartition(topic, number)
            for topic, numbers in request.forgotten_topics_data
            for number in numbers
        ]
        self.served = None
        if request.session_epoch in (FIRST, ALONE):
            self.sessions.pop(request.session_id, None)
            return self._whole(request.session_epoch == FIRST and self.opens)
        session = self.sessions.get(request.session_id)
        if session is None:
            return FetchResponse_v11(0, NOT_THERE, 0, [])
        if session.epoch != request.session_epoch:
            return FetchResponse_v11(0, WRONG_EPOCH, 0, [])
        for place, offset in self.named.items():
            session.known.setdefault(place, Known(offset)).offset = offset
        for place in self.forgotten:
            session.known.pop(place, None)
        if not session.known:
            del self.sessions[request.session_id]
            return self._whole(opens=False)
        session.epoch = session.epoch % LAST + 1
        return self._news(request.session_id, session)

    def _whole(self, opens: bool) -> FetchResponse_v11:
        found = self._look(self.named)
        number = 0
        if opens:
            number = next(self._ids)
            known = {place: Known(self.named[place], end, start) for place, (_, end, _, start, _) in found}
            self.sessions[number] = Session(1, known)
        return self._made(number, found)

    def _news(self, number: int, session: Session) -> FetchResponse_v11:
        told = []
        for place, found in self._look({place: each.offset for place, each in session.known.items()}):
            known = session.known[place]
            error, end, _, start, records = found
            if error or records or (end, start) != (known.end, known.start):
                told.append((place, found))
            known.end, known.start = end, start
            if records:  # the next answer begins with another one
                session.known[place] = session.known.pop(place)
        return self._made(number, told)

    def _look(self, offsets: dict[TopicPartition, int]) -> list[tuple[TopicPartition, tuple[Any, ...]]]:
        self.served = dict(offsets)
        room = self.MOST
        found = []
        for place, offset in offsets.items():
            log = self._logs[place]
            error = log.error or (0 if log.leader == self._node else NOT_LEADER)
            if not (error or log.start <= offset <= log.end):
                error = OUT_OF_RANGE
            if error:
                found.append((place, (error, -1, -1, -1, b"")))
                continue
            last = min(log.stable, offset + room)
            room -= max(0, last - offset)
            records = b"".join(batch(place, each) for each in range(offset, last))
            found.append((place, (0, log.end, log.stable, log.start, records)))
        return found

    @staticmethod
    def _made(number: int, found: list[tuple[TopicPartition, tuple[Any, ...]]]) -> FetchResponse_v11:
        topics = [
            (place.topic, [(place.partition, error, end, stable, start, None, -1, records)])
            for place, (error, end, stable, start, records) in found
        ]
        return FetchResponse_v11(0, 0, number, topics)


def metadata(leaders: dict[TopicPartition, int | None]) -> Any:
    """What a client knows of a cluster; None: it does not know a partition."""
    cluster = ClusterMetadata()
    cluster._brokers = {node: BrokerMetadata(node, "", 0, None) for node in range(4)}
    for place, leader in leaders.items():
        if leader is not None:
            cluster._partitions.setdefault(place.topic, {})[place.partition] = SimpleNamespace(leader=leader)
    return cluster


class Client:
    """What aiokafka's has of this, before brokers that are in this process."""

    _metadata_max_age_ms = 300_000

    def __init__(self, cluster: Any, brokers: list[Broker]) -> None:
        self._loop = asyncio.get_running_loop()
        self.cluster = cluster
        self.outcome = "answered"
        self.meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.errors: list[int] = []  # of whole answers
        self.ends: dict[TopicPartition, tuple[int, int]] = {}  # that the broker had last
        self._brokers = brokers

    def force_metadata_update(self) -> None:
        pass

    async def send(self, node: int, request: Fetch) -> Any:
        if self.outcome == "never sent":
            raise NodeNotReadyError
        made = request.prepare({fetch_wire.API_KEY: (4, 17)})
        if self.outcome == "request lost":
            raise KafkaConnectionError
        broker = self._brokers[node]
        answer = broker.answer(FetchRequest_v11.decode(made.encode()))
        if broker.served is not None:
            assert broker.served == {place: offset for place, _, offset in request.asked}
        self.ends = {
            place: (log.end, log.stable)
            for place, log in broker._logs.items()
            if log.leader == node and not log.error
        }
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.outcome == "answer lost":
            raise KafkaConnectionError
        if self.outcome == "cancelled":
            raise asyncio.CancelledError
        self.errors.append(answer.error_code)
        return made.RESPONSE_TYPE.decode(BytesIO(b"\0\0\0\1" + answer.encode()))


@asynccontextmanager
async def fetching(client: Any, subscriptions: Any) -> AsyncIterator[Any]:
    """A fetcher of aiokafka that fetches only when it is told to."""
    fetcher = Fetcher(
        client,
        subscriptions,
        prefetch_backoff=0,
        retry_backoff_ms=0,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    fetcher._fetch_task.cancel()
    yield fetcher
    with suppress(asyncio.CancelledError):
        await fetcher.close()


class Story:
    """What happens to a consumer and its brokers, step by step; each step's name is a method's."""

    def __init__(self, fetcher: Any, client: Client, brokers: list[Broker]) -> None:
        self.logs = brokers[0]._logs
        self._cut: set[TopicPartition] = set()
        self._fetcher = fetcher
        self._client = client
        self._brokers = brokers

    @property
    def _assignment(self) -> Any:
        return self._fetcher._subscriptions.subscription.assignment

    async def tell(self, steps: Iterable[tuple[Any, ...]]) -> None:
        for name, *rest in steps:
            await getattr(self, name)(*rest)

    async def assign(self, numbers: set[int]) -> None:
        self._fetcher._subscriptions.assign_from_user([PLACES[number] for number in numbers])
        self._fetcher._records.clear()

    async def append(self, number: int, count: int) -> None:
        log = self.logs[PLACES[number]]
        log.end += count
        log.stable = log.end

    async def append_in_transaction(self, number: int, count: int) -> None:
        self.logs[PLACES[number]].end += count

    async def trim(self, number: int, count: int) -> None:
        log = self.logs[PLACES[number]]
        log.start = min(log.stable, log.start + count)

    async def cut(self, number: int, count: int) -> None:
        log = self.logs[PLACES[number]]
        self._cut.add(PLACES[number])
        log.end = max(log.start, log.end - count)
        log.stable = min(log.stable, log.end)

    async def fail(self, number: int, error: int) -> None:
        self.logs[PLACES[number]].error = error

    async def lead(self, number: int, node: int) -> None:
        place = PLACES[number]
        self.logs[place].leader = node
        self._client.cluster._partitions[place.topic][place.partition].leader = node

    async def lead_unnoticed(self, number: int, node: int) -> None:
        self.logs[PLACES[number]].leader = node

    async def seek(self, number: int, offset: int) -> None:
        if PLACES[number] in self._assignment.tps:
            self._fetcher.seek_to(PLACES[number], offset)

    async def pause(self, number: int) -> None:
        if PLACES[number] in self._assignment.tps:
            self._fetcher._subscriptions.pause(PLACES[number])

    async def resume(self, number: int) -> None:
        if PLACES[number] in self._assignment.tps:
            self._fetcher._subscriptions.resume(PLACES[number])

    async def evict(self, node: int) -> None:
        self._brokers[node].sessions.clear()

    async def disagree(self, node: int) -> None:
        for session in self._brokers[node].sessions.values():
            session.epoch += 1

    async def open_sessions(self, node: int, opens: bool) -> None:
        self._brokers[node].opens = opens

    async def read(self, most: int) -> None:
        """Take what was fetched: it goes on exactly where the last records ended, or where was sought."""
        begins = {place: self._assignment.state_value(place)._position for place in self._fetcher._records}
        taken = await self._fetcher.fetched_records([], timeout=0, max_records=most)
        for place, records in taken.items():
            wanted = range(begins[place], begins[place] + len(records))
            assert [record.offset for record in records] == list(wanted)
            assert [record.value for record in records] == [value_at(place, offset) for offset in wanted]

    async def fetch(self, outcome: str = "answered", meanwhile: Iterable[tuple[Any, ...]] = ()) -> None:
        """Fetch once from each broker, after the positions that are not known were looked up."""
        assignment = self._assignment
        requests, resets, *_ = self._fetcher._get_actions_per_node(assignment)
        if resets:
            for place in itertools.chain(*resets.values()):
                assignment.state_value(place).reset_to(self.logs[place].start)
            requests, *_ = self._fetcher._get_actions_per_node(assignment)
        self._client.outcome = outcome
        for node, request in requests:
            if not assignment.active:  # another one is planned first
                return
            self._client.meanwhile = lambda: self.tell(meanwhile)
            self._client.errors.clear()
            await self._fetcher._proc_fetch_request(assignment, node, request)
            if outcome == "answered" and assignment.active and self._client.errors == [0]:
                self._knows_the_ends(request)

    def _knows_the_ends(self, request: Fetch) -> None:
        for place, state, offset in request.asked:
            if state._position == offset and place in self._client.ends:
                end, stable = self._client.ends[place]
                assert state.highwater == end
                # No broker tells of a stable end that alone has changed: only that of a log that was cut.
                assert state.lso == stable or place in self._cut

    async def end(self) -> None:
        """Let all trouble end: everything is read, and then requests say nothing."""
        for number, place in enumerate(PLACES):
            log = self.logs[place]
            await self.fail(number, 0)
            await self.lead(number, log.leader)
            await self.resume(number)
            await self.append(number, 1)
        for broker in self._brokers:
            broker.opens = True
        errors = 0
        states = {place: self._assignment.state_value(place) for place in self._assignment.tps}
        for _ in range(200):
            await self.fetch()
            errors += sum(map(bool, self._client.errors))
            await self.read(1_000)
            if all(state._position == self.logs[place].end for place, state in states.items()):
                break
        else:
            pytest.fail("something is never read")
        assert errors <= len(NODES)  # the first answer tells that the session is no more, and no later one
        for _ in range(2):
            await self.fetch()
        for place, state in states.items():
            assert (state.highwater, state.lso) == (self.logs[place].end, self.logs[place].stable)
            broker = self._brokers[self.logs[place].leader]
            assert not broker.named
            assert not broker.forgotten


NUMBER = st.integers(0, len(PLACES) - 1)
NODE = st.sampled_from(NODES)
COUNT = st.integers(1, 6)
OUTCOMES = ("never sent", "request lost", "answer lost", "cancelled")


def step(name: str, *rest: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(name), *rest)


STEPS = (
    step("append", NUMBER, COUNT)
    | step("append_in_transaction", NUMBER, COUNT)
    | step("trim", NUMBER, COUNT)
    | step("fail", NUMBER, st.sampled_from([0, UNKNOWN_TOPIC, NOT_LEADER, -1]))
    | step("seek", NUMBER, st.integers(0, 12))
    | step("pause", NUMBER)
    | step("resume", NUMBER)
    | step("read", st.integers(1, 8))
    | step("evict", NODE)
    | step("disagree", NODE)
    | step("open_sessions", NODE, st.booleans())
    | step("assign", st.sets(NUMBER, min_size=1))
)
#: A broker has a log as it was before only where no other one has led it meanwhile.
ON_TWO_BROKERS = STEPS | step("lead", NUMBER, NODE) | step("lead_unnoticed", NUMBER, NODE)
ON_ONE_BROKER = STEPS | step("cut", NUMBER, COUNT)


def stories(steps: st.SearchStrategy[tuple[Any, ...]]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    meanwhile = st.lists(steps, max_size=2)
    fetch = step("fetch", st.just("answered"), meanwhile)
    trouble = step("fetch", st.sampled_from(OUTCOMES), meanwhile)
    kinds = st.sampled_from([fetch, fetch, trouble, steps, steps])
    # Of each kind as often as it stands there: `one_of` would take each kind of step as often as a fetch.
    return st.lists(kinds.flatmap(lambda kind: kind), min_size=12, max_size=40)


@asynccontextmanager
async def telling() -> AsyncIterator[tuple[Story, Client, list[Broker]]]:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the trouble is meant
    logs = {place: Log() for place in PLACES}
    brokers = [Broker(node, logs) for node in NODES]
    client = Client(metadata(dict.fromkeys(PLACES, 0)), brokers)
    async with fetching(client, SubscriptionState()) as fetcher:
        fetch_in_sessions(fetcher)
        story = Story(fetcher, client, brokers)
        await story.assign({0, 1, 3})
        yield story, client, brokers


async def tell(steps: list[tuple[Any, ...]]) -> None:
    async with telling() as (story, _, _):
        await story.tell(steps)
        await story.end()


@pytest.mark.parametrize(
    ("under_way", "named"),
    [
        ([], {PLACES[0]: 2}),
        ([("seek", 1, 0)], {PLACES[0]: 2, PLACES[1]: 0}),
        ([("seek", 0, 0)], {PLACES[0]: 0, PLACES[1]: 1, PLACES[3]: 1}),
        ([("assign", {0, 1})], {PLACES[0]: 0, PLACES[1]: 0}),
    ],
    ids=["nothing", "a seek elsewhere", "a seek of what has come", "an assignment"],
)
@pytest.mark.usefixtures("virtual_time")
async def test_a_session_goes_on_where_all_that_was_told_is_taken(
    under_way: list[tuple[Any, ...]], named: dict[TopicPartition, int]
) -> None:
    """What is sought while a fetch is under way begins it again only where the answer has that partition."""
    async with telling() as (story, _, brokers):
        await story.tell(("append", number, 1) for number in (0, 1, 3))
        await story.tell([("fetch",), ("read", 9), ("fetch",), ("append", 0, 1)])
        await story.fetch("answered", under_way)
        await story.tell([("read", 9), ("fetch",)])
        assert brokers[0].named == named


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.usefixtures("virtual_time")
async def test_after_a_fetch_without_an_answer_everything_is_named(outcome: str) -> None:
    """The next request is a first one, so that the broker need not refuse one before."""
    async with telling() as (story, client, brokers):
        await story.tell([("append", 0, 1), ("fetch",), ("read", 9), ("fetch",), ("append", 0, 1)])
        await story.fetch(outcome)
        await story.fetch()
        assert brokers[0].named == {PLACES[0]: 1, PLACES[1]: 0, PLACES[3]: 0}
        assert client.errors == [0]


@settings(max_examples=300)
@given(stories(ON_TWO_BROKERS))
def test_whatever_happens_all_is_served_from_where_it_is_wanted(story: list[tuple[Any, ...]]) -> None:
    """Each request that is taken stands for the partitions that are wanted, at their offsets, and no others.

    Once an answer was taken, the ends of their logs are known; once the trouble is over, all is read.
    """
    run(tell(story))


@settings(max_examples=150)
@given(stories(ON_ONE_BROKER))
def test_so_it_is_where_logs_are_cut(story: list[tuple[Any, ...]]) -> None:
    """An end that moves backwards is known, too."""
    run(tell(story))


@dataclass
class Partition:
    """What a plan depends on."""

    leader: int | None
    position: int | None
    paused: bool
    waits: float | None  # seconds; None: nothing of it waits to be read
    replica: tuple[int, bool] | None  # preferred: its number, and whether the preference still holds


LEADERS = st.sampled_from(range(4))
USUAL = st.builds(
    Partition,
    LEADERS,
    st.integers(0, 9),
    st.just(False),
    st.sampled_from([None, None, None, 0, 0.05, 0.3]),
    st.none(),
)
ODD = st.one_of(
    st.builds(replace, USUAL, leader=st.sampled_from([None, -1])),
    st.builds(replace, USUAL, position=st.none()),
    st.builds(replace, USUAL, paused=st.just(True)),
    st.builds(replace, USUAL, replica=st.tuples(st.integers(2, 5), st.booleans())),
)
UNUSUAL = ODD | st.builds(
    Partition,
    st.sampled_from([None, -1]) | LEADERS,
    st.none() | st.integers(0, 9),
    st.booleans(),
    st.sampled_from([None, 0, 0.05, 0.3]),
    st.none() | st.tuples(st.integers(2, 5), st.booleans()),
)


def by_node(requests: Iterable[tuple[int, Any]]) -> dict[int, list[Any]]:
    """What each broker is asked for: place, offset, and bytes; and the milliseconds that it may wait."""
    return {
        node: [
            request.wait if type(request) is Fetch else request._max_wait_ms,
            *sorted((topic, *each) for topic, parts in request.topics for each in parts),
        ]
        for node, request in requests
    }


async def plan(partitions: list[Partition], in_flight: set[int]) -> None:
    places = [TopicPartition(f"t{number % 2}", number) for number in range(len(partitions))]
    of = dict(zip(places, partitions, strict=True))
    client: Any = SimpleNamespace(
        cluster=metadata({place: each.leader for place, each in of.items()}),
        _loop=asyncio.get_running_loop(),
        _metadata_max_age_ms=300_000,
        send=None,
    )
    subscriptions = SubscriptionState()
    subscriptions.assign_from_user(places)
    assignment = subscriptions.subscription.assignment
    async with fetching(client, subscriptions) as fetcher:
        next_fetch = fetch_in_sessions(fetcher)
        fetcher._in_flight |= in_flight
        for place, each in of.items():
            if each.position is not None:
                subscriptions.seek(place, each.position)
            if each.paused:
                subscriptions.pause(place)
            if each.waits is not None:
                waits = each.waits
                fetcher._records[place] = SimpleNamespace(calculate_backoff=lambda waits=waits: waits)
            if each.replica is not None:
                node, holds = each.replica
                until = time.monotonic() + (3_600 if holds else -1)
                fetcher._preferred_read_replica[place] = node, until
        usual = _usual(fetcher, assignment, in_flight)
        planned, resets, wait, invalid, resumes = fetcher._get_actions_per_node(assignment)
        stock, *rest = Fetcher._get_actions_per_node(fetcher, assignment)
        assert by_node(planned) == by_node(stock)
        assert (resets, wait, invalid, set(resumes)) == (*rest[:3], set(rest[3]))
        for _, request in planned:
            assert asked_in(request, assignment) is request.asked
            assert {place: state for place, state, _ in request.asked} == {
                place: assignment.state_value(place) for place, _, _ in request.asked
            }
        if all(each.leader in range(4) and each.replica is None for each in partitions) and not any(
            each.paused or each.position is None for each in partitions
        ):
            assert usual is not None
        if usual is not None:
            asked_of, usual_wait = usual
            most = fetcher._max_partition_fetch_bytes
            assert {
                node: [500, *sorted((*place, offset, most) for place, _, offset in each)]
                for node, each in asked_of.items()
            } == by_node(stock)
            assert (rest[0], usual_wait, rest[2], rest[3]) == ({}, rest[1], False, [])
        for node in range(4):
            fetcher._in_flight = in_flight - {node}
            stock, *_ = Fetcher._get_actions_per_node(fetcher, assignment)
            usual = _usual(fetcher, assignment, fetcher._in_flight)
            fetcher._in_flight = in_flight | {node}
            following = next_fetch(assignment, node)
            if usual is None or [each for each, _ in stock] != [node]:
                assert following is None
            else:
                assert following is not None
                assert by_node([(node, following)]) == by_node(stock)


@settings(max_examples=300)
@given(
    st.one_of(
        st.lists(USUAL, min_size=1, max_size=8),
        st.lists(UNUSUAL, min_size=1, max_size=8),
        st.tuples(ODD, st.lists(USUAL, max_size=3)).map(lambda few: [few[0], *few[1]]),
    ),
    st.sets(LEADERS, max_size=2),
)
def test_what_is_planned_is_what_aiokafka_plans(partitions: list[Partition], in_flight: set[int]) -> None:
    """The same brokers are asked for the same, and wait as long; the short way is taken where it may be.

    A broker's next fetch is the one that would be planned if it had none, and no other one is to be asked.
    """
    run(plan(partitions, in_flight))


class Wire:
    """What goes over the wire to the one broker, and the errors that it answers with."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, int, dict[TopicPartition, int], set[TopicPartition]]] = []
        self.errors: list[int] = []
        #: Changes the session and epoch of one later request of a session.
        self.falsify: Callable[[int, int], tuple[int, int]] | None = None

    def idle(self, since: int = 0) -> bool:
        """Whether a request since the given one named nothing, and the broker was not to forget anything."""
        return any(not named and not forgotten for _, _, named, forgotten in self.requests[since:])


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Notes what is asked and answered in sessions."""
    noted = Wire()
    make, answered = fetch_wire.request, FetchSession.answered

    def make_and_note(limits: Any, session: int, epoch: int, changed: Any, forgotten: Any) -> Any:
        noted.requests.append((session, epoch, {place: at for place, _, at in changed}, set(forgotten)))
        if epoch != FIRST and noted.falsify is not None:
            session, epoch = noted.falsify(session, epoch)
            noted.falsify = None
        return make(limits, session, epoch, changed, forgotten)

    def note_error(self: FetchSession, error: int, session: int) -> None:
        if error:
            noted.errors.append(error)
        answered(self, error, session)

    monkeypatch.setattr(fetch_wire, "request", make_and_note)
    monkeypatch.setattr(FetchSession, "answered", note_error)
    return noted


class Reader:
    """Writes numbers to partitions, from 0 on, and reads them in sessions."""

    def __init__(self, consumer: AIOKafkaConsumer, producer: Any) -> None:
        self.consumer = consumer
        self.read: dict[TopicPartition, list[int]] = {}
        self.written: dict[TopicPartition, int] = {}
        self._producer = producer

    async def write(self, places: Iterable[TopicPartition], count: int = 1) -> None:
        for place in places:
            for _ in range(count):
                number = self.written.get(place, 0)
                self.written[place] = number + 1
                await self._producer.send(place.topic, b"%d" % number, partition=place.partition)
        await self._producer.flush()

    async def begin(self, places: list[TopicPartition], count: int = 1) -> None:
        """Write so many numbers to each of these partitions, have them assigned, and read all."""
        await self.write(places, count)
        self.consumer.assign(places)
        await self.all_of(places)

    async def take(self) -> None:
        for place, records in (await self.consumer.getmany(timeout_ms=20)).items():
            self.read.setdefault(place, []).extend(int(record.value) for record in records)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read until a condition holds."""

        async def holds() -> bool:
            await self.take()
            return condition()

        await happens(holds, 60)

    async def all_of(self, places: Iterable[TopicPartition], begin: int = 0) -> None:
        """Read all of these partitions; what came of them, from number `begin` on, came once, in order."""
        wanted = {place: list(range(begin, self.written[place])) for place in places}
        await self.until(
            lambda: all(len(self.read.get(place, ())) >= len(each) for place, each in wanted.items())
        )
        assert {place: self.read[place] for place in wanted} == wanted


@asynccontextmanager
async def reading(kafka: EmbeddedKafka, *topics: str, partitions: int = 1) -> AsyncIterator[Reader]:
    await make_topics(kafka.bootstrap_servers, partitions, *topics)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
    )
    async with producing(kafka.bootstrap_servers) as producer, consumer:
        fetch_in_sessions(consumer._fetcher)
        yield Reader(consumer, producer)


@pytest.mark.kafka
async def test_a_request_names_what_has_changed_and_all_arrives(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], wire: Wire
) -> None:
    """Of many partitions all arrives, in order, each once; a later request names the one that is new."""
    topics = [unique_name("many"), unique_name("more")]
    places = [TopicPartition(topic, number) for topic in topics for number in range(20)]
    async with reading(kafka, *topics, partitions=20) as reader:
        await reader.begin(places, 3)
        assert wire.requests[0][:2] == (0, FIRST)
        assert {place for _, _, named, _ in wire.requests for place in named} == set(places)
        await reader.until(wire.idle)
        idle = len(wire.requests)
        one = places[7]
        await reader.write([one], 2)
        await reader.all_of(places)
        await reader.until(lambda: any(named == {one: 5} for _, _, named, _ in wire.requests[idle:]))
        later = wire.requests[idle:]
        assert {place for _, _, named, _ in later for place in named} == {one}
        assert {place for *_, forgotten in later for place in forgotten} <= {one}
        assert {session for session, *_ in later} == {wire.requests[idle - 1][0]} - {0}
        first = wire.requests[idle - 1][1]
        assert [epoch for _, epoch, *_ in later] == [first + 1 + number for number in range(len(later))]
        await reader.write(places)
        await reader.all_of(places)
        await reader.until(lambda: all(reader.consumer.highwater(each) >= 4 for each in places))
        assert wire.errors == []
        since = len(wire.requests)
        await reader.until(lambda: wire.idle(since))
        assert {place: reader.consumer.highwater(place) for place in places} == reader.written


@pytest.mark.kafka
async def test_after_a_seek_it_is_read_from_there(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], wire: Wire
) -> None:
    """Of the one partition all comes again from there, of the other one nothing."""
    topic = unique_name("sought")
    back, other = places = [TopicPartition(topic, number) for number in range(2)]
    async with reading(kafka, topic, partitions=2) as reader:
        await reader.begin(places, 5)
        await reader.until(wire.idle)  # from now on, a fetch that finds nothing is under way
        for begin in (0, 3):
            reader.read[back] = []
            reader.consumer.seek(back, begin)
            await reader.all_of([back], begin)
        await reader.write(places)
        await reader.all_of([back], 3)
        await reader.all_of([other])
        assert wire.errors == []


@pytest.mark.kafka
async def test_a_paused_partition_is_forgotten_until_it_goes_on(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], wire: Wire
) -> None:
    """The others are read meanwhile; afterwards, all that was written to it comes."""
    topic = unique_name("paused")
    paused, other = places = [TopicPartition(topic, number) for number in range(2)]
    async with reading(kafka, topic, partitions=2) as reader:
        await reader.begin(places)
        await reader.until(wire.idle)
        reader.consumer.pause(paused)
        await reader.until(lambda: any(paused in forgotten for *_, forgotten in wire.requests))
        await reader.write(places, 2)
        await reader.all_of([other])
        assert reader.read[paused] == [0]
        since = len(wire.requests)
        reader.consumer.resume(paused)
        await reader.all_of(places)
        assert any(paused in named for _, _, named, _ in wire.requests[since:])
        await reader.write(places)
        await reader.all_of(places)
        assert wire.errors == []


@pytest.mark.kafka
async def test_other_partitions_may_be_assigned(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], wire: Wire
) -> None:
    """Those are read from their beginning, what is not assigned any more is not read, and back again."""
    topic = unique_name("assigned")
    a, b, c = places = [TopicPartition(topic, number) for number in range(3)]
    async with reading(kafka, topic, partitions=3) as reader:
        await reader.write(places, 3)
        for assigned in ([a, b], [b, c], [a, b, c], [a]):
            reader.read.clear()
            reader.consumer.assign(assigned)
            await reader.all_of(assigned)
            since = len(wire.requests)
            await reader.until(lambda since=since: wire.idle(since))
            await reader.write(places)
            await reader.all_of(assigned)
            assert set(reader.read) == set(assigned)
            assert {each: reader.consumer.highwater(each) for each in assigned} == {
                each: reader.written[each] for each in assigned
            }
        assert wire.errors == []


@pytest.mark.parametrize(
    ("falsify", "error"),
    [
        (lambda session, epoch: (session ^ 1, epoch), NOT_THERE),
        (lambda session, epoch: (session, epoch + 5), WRONG_EPOCH),
    ],
    ids=["evicted", "another epoch"],
)
@pytest.mark.kafka
async def test_a_session_that_the_broker_does_not_have_begins_again(
    kafka: EmbeddedKafka,
    unique_name: Callable[[str], str],
    wire: Wire,
    falsify: Callable[[int, int], tuple[int, int]],
    error: int,
) -> None:
    """The next request names everything, and nothing is lost or comes twice."""
    topic = unique_name("evicted")
    places = [TopicPartition(topic, number) for number in range(5)]
    async with reading(kafka, topic, partitions=5) as reader:
        await reader.begin(places, 2)
        await reader.until(wire.idle)
        wire.falsify = falsify
        await reader.write(places)
        await reader.all_of(places)
        await reader.until(lambda: bool(wire.errors))
        await reader.write(places)
        await reader.all_of(places)
        assert wire.errors == [error]
        assert [epoch for _, epoch, *_ in wire.requests].count(FIRST) == 2
        since = len(wire.requests)
        await reader.until(lambda: wire.idle(since))
        assert {place: reader.consumer.highwater(place) for place in places} == reader.written


@pytest.mark.kafka
async def test_an_older_broker_is_asked_for_everything(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], wire: Wire
) -> None:
    """One before Kafka 2.3 gets aiokafka's own request, and all arrives."""
    topic = unique_name("older")
    places = [TopicPartition(topic, number) for number in range(3)]
    async with reading(kafka, topic, partitions=3) as reader:
        client = reader.consumer._client
        connect = client._get_conn

        async def connect_to_older(*args: Any, **options: Any) -> Any:
            connection = await connect(*args, **options)
            if connection is not None:
                connection._versions = {**connection._versions, fetch_wire.API_KEY: (4, 10)}
            return connection

        client._get_conn = connect_to_older
        await reader.begin(places, 2)
        reader.read[places[0]] = []
        reader.consumer.seek(places[0], 1)
        await reader.write(places)
        await reader.all_of(places[:1], 1)
        await reader.all_of(places[1:])
        assert wire.requests == []
