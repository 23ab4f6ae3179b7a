"""The pace of fetches, the brokers that are asked, and what a record is handed over as."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
)
from aiokafka.structs import ConsumerRecord

from streams.kafka.fetching import (
    BACKLOG,
    IDLE_WAIT_MS,
    PAUSE,
    fetch_chunks,
    follow_leaders,
    go_on_fetching,
    pace_fetches,
)
from streams.kafka.record_batches import PartitionRecords, batches_from
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import make_topics
from tests.fuzz.mutations import Sent
from tests.fuzz.wire import batches


class FetchFailed(Exception):
    """Whatever aiokafka may raise."""


class Fetcher:
    """What aiokafka's has of this."""

    def __init__(self, failure: type[Exception] | None = None, seconds: float = 0) -> None:
        self.asked_at: list[float] = []
        self._failure = failure
        self._seconds = seconds

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._seconds)
        if self._failure is not None:
            raise self._failure
        return True

    def _select_read_replica(self, place: TopicPartition) -> int:
        return place.partition % 2  # broker 0 leads the even ones


def paced(failure: type[Exception] | None = None, seconds: float = 0) -> Fetcher:
    fetcher = Fetcher(failure, seconds)
    pace_fetches(fetcher, lambda place: place.topic != "restored")
    return fetcher


def asked(ends: dict[int, int | None], offset: int = 0) -> Any:
    """A fetch of these partitions, all from one offset; of each, the end of its log that is known."""
    return SimpleNamespace(
        asked=[
            (TopicPartition("actions", number), SimpleNamespace(highwater=end), offset)
            for number, end in ends.items()
        ],
        wait=50,
    )


def request(partitions: int, highwater: int | None = 0) -> Any:
    """Every partition's log ends at the same offset."""
    return asked(dict.fromkeys(range(partitions), highwater))


def assigned(partitions: int) -> Any:
    return SimpleNamespace(tps={TopicPartition("actions", number) for number in range(partitions)})


@pytest.mark.parametrize("highwater", [None, (BACKLOG - 1) // 3])
@pytest.mark.usefixtures("virtual_time")
async def test_what_trickles_in_is_gathered(highwater: int | None) -> None:
    """Two fetches from a broker have a pause between them, and the first has none before it."""
    fetcher = paced()
    begin = asyncio.get_running_loop().time()
    for _ in range(2):
        assert await fetcher._proc_fetch_request(assigned(3), 0, request(3, highwater))
    first, second = fetcher.asked_at
    assert first - begin < PAUSE
    assert second - first >= PAUSE * 0.99


@pytest.mark.usefixtures("virtual_time")
async def test_the_pause_does_not_grow_with_the_partitions() -> None:
    """However many a fetch asks for, the next one from the broker begins after the same pause."""
    fetcher = paced()
    for _ in range(3):
        assert await fetcher._proc_fetch_request(assigned(4_000), 0, request(4_000))
    first, second, third = fetcher.asked_at
    assert second - first == pytest.approx(PAUSE)
    assert third - second == pytest.approx(PAUSE)


@pytest.mark.usefixtures("virtual_time")
async def test_a_backlog_is_not_waited_for() -> None:
    """Where the partitions together have as much as a pause would gather, there is none."""
    fetcher = paced()
    for _ in range(11):
        assert await fetcher._proc_fetch_request(assigned(4), 0, request(4, BACKLOG // 4))
    assert fetcher.asked_at[-1] == fetcher.asked_at[0]


@pytest.mark.usefixtures("virtual_time")
async def test_what_is_read_does_not_lessen_a_backlog() -> None:
    """A log that ends before the offset asked for, as one that was cut, counts as read."""
    fetcher = paced()
    ends = {0: 0, 1: 5_000 + BACKLOG}
    for _ in range(2):
        assert await fetcher._proc_fetch_request(assigned(2), 0, asked(ends, offset=5_000))
    first, second = fetcher.asked_at
    assert second == first


@pytest.mark.usefixtures("virtual_time")
async def test_brokers_do_not_wait_for_each_other() -> None:
    """A pause concerns one broker."""
    fetcher = paced()
    for node_id in (0, 1):
        await fetcher._proc_fetch_request(assigned(1), node_id, request(1))
    first, second = fetcher.asked_at
    assert second == first


@pytest.mark.usefixtures("virtual_time")
async def test_a_failed_fetch_is_paused_after_too() -> None:
    """What goes wrong is raised, and not repeated faster than what goes right."""
    fetcher = paced(FetchFailed)
    for _ in range(2):
        with pytest.raises(FetchFailed):
            await fetcher._proc_fetch_request(assigned(100), 0, request(100))
    assert fetcher.asked_at[1] - fetcher.asked_at[0] >= PAUSE * 0.99


@pytest.mark.parametrize("asked_before", [0, 1], ids=["while it fetches", "while it pauses"])
@pytest.mark.usefixtures("virtual_time")
async def test_a_cancelled_fetch_has_found_nothing(asked_before: int) -> None:
    """The fetcher's close awaits what it has cancelled, and goes on."""
    fetcher = paced(seconds=0 if asked_before else 60)
    for _ in range(asked_before):
        await fetcher._proc_fetch_request(assigned(1), 0, request(1))
    begin = asyncio.get_running_loop().time()
    fetch = asyncio.create_task(fetcher._proc_fetch_request(assigned(1), 0, request(1)))
    await asyncio.sleep(0)
    fetch.cancel()
    assert await fetch is False
    assert asyncio.get_running_loop().time() == begin
    assert len(fetcher.asked_at) == 1


@pytest.mark.parametrize(
    ("of", "ends", "waits_long"),
    [
        ({("actions", 2), ("actions", 4)}, {2: 7, 4: 7}, True),
        ({("actions", 2), ("actions", 4), ("actions", 1)}, {2: 7, 4: 7}, True),
        ({("actions", 2), ("actions", 4), ("restored", 6)}, {2: 7, 4: 7}, True),
        ({("actions", 2), ("actions", 4), ("actions", 6)}, {2: 7, 4: 7}, False),
        ({("actions", 2), ("actions", 4)}, {2: 7, 4: 8}, False),
        ({("actions", 2), ("actions", 4)}, {2: 7, 4: 6}, False),
        ({("actions", 2), ("actions", 4)}, {2: 7, 4: None}, False),
    ],
    ids=[
        "all is read",
        "what it lacks is another broker's",
        "what it lacks nobody takes",
        "one is not asked for yet",
        "one has more to read",
        "one was cut",
        "an end is not known",
    ],
)
@pytest.mark.usefixtures("virtual_time")
async def test_only_where_all_is_read_a_fetch_waits_long(
    of: set[tuple[str, int]], ends: dict[int, int | None], waits_long: bool
) -> None:
    """A fetch holds up what is not in it, so it may wait long only where nothing else can have a record."""
    assignment = SimpleNamespace(tps=frozenset(TopicPartition(*each) for each in of))
    fetch = asked(ends, offset=7)
    await paced()._proc_fetch_request(assignment, 0, fetch)
    assert fetch.wait == (IDLE_WAIT_MS if waits_long else 50)


class Client:
    """Counts how often the metadata was asked for."""

    def __init__(self) -> None:
        self.looks = 0

    def force_metadata_update(self) -> None:
        self.looks += 1


@pytest.mark.parametrize(
    ("error", "looks"),
    [(NotLeaderForPartitionError, 1), (KafkaConnectionError, 1), (RequestTimedOutError, 0)],
)
async def test_a_broker_that_is_not_the_leader_is_a_reason_to_look_for_it(
    error: type[KafkaError], looks: int
) -> None:
    """The error is raised as before, and the metadata is read at once."""

    async def refuse(node_id: int, topics: Any) -> Any:
        raise error

    fetcher = SimpleNamespace(_client=Client(), _proc_offset_request=refuse)
    follow_leaders(fetcher)
    with pytest.raises(error):
        await fetcher._proc_offset_request(1, {"statuses": [(0, -2)]})
    assert fetcher._client.looks == looks


@pytest.mark.kafka
async def test_a_bare_record_says_all_that_is_its_own(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str]
) -> None:
    """Offset, timestamp, key, value and headers are as in a ConsumerRecord, which other topics still get."""
    bare, whole = (TopicPartition(unique_name(name), 0) for name in ("bare", "whole"))
    await make_topics(kafka.bootstrap_servers, 1, bare.topic, whole.topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for topic, _ in (bare, whole):
            for value in (b"one", None):
                await producer.send_and_wait(topic, value, b"key", headers=[("a", b"1")], timestamp_ms=7)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(30):
        fetch_chunks(consumer._fetcher, {bare.topic: SimpleNamespace(gather=None)}.get)
        consumer.assign([bare, whole])
        got: dict[Any, list[Any]] = {bare: [], whole: []}
        while any(len(records) < 2 for records in got.values()):
            for place, records in (await consumer.getmany(timeout_ms=100)).items():
                got[place] += records
    assert {type(record) for record in got[whole]} == {ConsumerRecord}
    assert not any(hasattr(record, "topic") for record in got[bare])

    def own(record: Any) -> tuple[Any, ...]:
        return record.offset, record.timestamp, record.timestamp_type, record.key, record.value

    assert [own(record) for record in got[bare]] == [own(record) for record in got[whole]]
    assert [tuple(record.headers) for record in got[bare]] == [(("a", b"1"),)] * 2


@pytest.mark.parametrize("takes", [2, 0, None])
async def test_a_fetch_goes_to_the_gather_of_its_topic_once(takes: int | None) -> None:
    """What it makes of the fetch is handed over as one, nothing where it has no records, else each record."""
    log = batches([Sent(7, b"key", value, []) for value in (b"a", b"b")], 10, 0, 2)
    gathered: list[tuple[bytes, Any, int]] = []

    def gather(raw: bytes, aborted: Any, offset: int) -> Any:
        gathered.append((raw, list(aborted), offset))
        return None if takes is None else SimpleNamespace(offset=11, count=takes)

    places = [TopicPartition(topic, 0) for topic in ("taken", "other")]
    records = [
        PartitionRecords(place, batches_from(log, 0), [(9, 3)], 10, None, None, True, READ_COMMITTED)
        for place in places
    ]
    fetcher: Any = Fetcher()
    fetcher._records = {
        place: FetchResult(place, assignment=None, partition_records=each, backoff=0)
        for place, each in zip(places, records, strict=True)
    }
    schemas = {"taken": SimpleNamespace(gather=gather), "other": SimpleNamespace(gather=None)}
    fetch_chunks(fetcher, schemas.get)
    for _ in range(2):  # the second fetch finds the first one's records still there
        await fetcher._proc_fetch_request(None, 1, request(1))
    taken, other = (list(each) for each in records)
    assert [record.value for record in other] == [b"a", b"b"]
    assert gathered == [(log, [(9, 3)], 10)]
    assert [each.next_fetch_offset for each in records] == [12, 12]
    assert len(taken) == {2: 1, 0: 0, None: 2}[takes]


class Following:
    """A fetcher whose fetches bring something, or not, in turn, and what happens around it."""

    def __init__(self, *found: bool) -> None:
        self._found = iter(found)
        self.asked: list[Any] = []
        self.assignment = SimpleNamespace(active=True)
        self.handed_over = 0
        self.takes = True  # somebody takes what is fetched
        self.next: Any = "next"

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        assert (assignment, node_id) == (self.assignment, 7)
        self.asked.append(request)
        return next(self._found)

    def hand_over(self) -> bool:
        self.handed_over += 1
        return self.takes

    async def fetch(self) -> bool:
        go_on_fetching(self, self.hand_over, lambda *_: self.next)
        got: bool = await self._proc_fetch_request(self.assignment, 7, "first")
        return got


async def test_a_fetch_is_followed_by_the_next_one_while_all_goes_as_usual() -> None:
    """One task goes on until a fetch brings nothing: then the fetcher looks at everything."""
    following = Following(True, True, False)
    assert await following.fetch() is False
    assert (following.asked, following.handed_over) == (["first", "next", "next"], 2)


@pytest.mark.parametrize(
    "unusual",
    [
        lambda following: setattr(following, "takes", False),
        lambda following: setattr(following, "next", None),
        lambda following: setattr(following.assignment, "active", False),
        lambda _: asyncio.current_task().cancel(),  # type: ignore[union-attr]  # it runs in one
    ],
    ids=["nobody takes it", "there is more to do", "the assignment is over", "it is cancelled"],
)
async def test_the_fetcher_looks_at_everything_where_something_is_not_as_usual(unusual: Any) -> None:
    """The task ends, and says that there is something; also where a fetch swallows its cancellation."""
    following = Following(True)
    ended: list[bool] = []

    async def fetch() -> None:
        unusual(following)
        ended.append(await following.fetch())

    await asyncio.wait({asyncio.create_task(fetch())})
    assert ended == [True]
    assert following.asked == ["first"]
