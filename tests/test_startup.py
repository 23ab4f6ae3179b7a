"""What must be so before the first record is read."""

import asyncio
import logging
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import OffsetAndMetadata
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.offsets import Extent
from streams.kafka.topics import TopicNames, TopicsUnfit
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.ports import free_port
from streams.sandbox.worker import Installation, WorkerProcess
from streams.startup import Startup, Undecided, starting_offsets
from tests.clients import administering, commit, happens, make_topics

Choice = Literal["earliest", "latest"] | None

# -- where a group begins --------------------------------------------------------------------------------

extents = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: Extent(pair[0], sum(pair)))
partitions = st.lists(st.tuples(st.none() | st.integers(0, 100), extents), min_size=1, max_size=5)
choices: st.SearchStrategy[Choice] = st.sampled_from([None, "earliest", "latest"])


def begin(
    found: list[tuple[int | None, Extent]], choice: Choice
) -> tuple[dict[TopicPartition, int] | Undecided, dict[TopicPartition, Extent]]:
    places = [TopicPartition("actions", number) for number in range(len(found))]
    committed = {place: offset for place, (offset, _) in zip(places, found, strict=True)}
    extent = {place: extent for place, (_, extent) in zip(places, found, strict=True)}
    return starting_offsets(committed, extent, choice), extent


@given(partitions, choices)
def test_no_record_is_passed_over_without_a_person_s_decision(
    found: list[tuple[int | None, Extent]], choice: Choice
) -> None:
    """A start beyond a partition's first record needs the choice "latest" and a group without any offset."""
    start, extent = begin(found, choice)
    group_is_new = all(offset is None for offset, _ in found)
    if isinstance(start, Undecided):
        assert group_is_new
        assert choice is None
        assert start.records == sum(each.end - each.first for _, each in found) > 0
        return
    assert set(start) == {place for place, (offset, _) in zip(extent, found, strict=True) if offset is None}
    for place, offset in start.items():
        if extent[place].first < extent[place].end:
            at_end = group_is_new and choice == "latest"
            assert offset == (extent[place].end if at_end else extent[place].first)
        else:
            assert offset == extent[place].end


@given(partitions)
def test_no_history_is_mailed_again_without_a_person_s_decision(
    found: list[tuple[int | None, Extent]],
) -> None:
    """Without a choice a new group begins only where there is nothing to read."""
    start, extent = begin([(None, each) for _, each in found], None)
    records = any(each.first < each.end for each in extent.values())
    assert isinstance(start, Undecided) is records


def test_a_partition_that_was_added_later_begins_at_its_beginning() -> None:
    """Whatever the choice was for the group's first day, what came into a new partition since is mailed."""
    for choice in (None, "earliest", "latest"):
        start, _ = begin([(40, Extent(0, 50)), (None, Extent(3, 9))], choice)  # type: ignore[arg-type]  # a literal
        assert start == {TopicPartition("actions", 1): 3}


def test_a_group_with_all_its_offsets_stays_where_it_is() -> None:
    """No choice moves a group that has begun, not even behind what retention has deleted."""
    for choice in (None, "earliest", "latest"):
        start, _ = begin([(4, Extent(7, 9)), (0, Extent(0, 5))], choice)  # type: ignore[arg-type]  # a literal
        assert start == {}


# -- on a real Kafka -------------------------------------------------------------------------------------


class Bench:
    """Groundworks for one group and its topics."""

    def __init__(self, servers: str, prefix: str) -> None:
        self.servers = servers
        self.connection = {"bootstrap_servers": servers}
        self.group = prefix
        names = (
            f"{prefix}-{name}" for name in ("actions", "statuses", "emails", "dlq", "changelog", "moved")
        )
        self.names = TopicNames(*names)
        self.places = [TopicPartition(self.names.actions, number) for number in range(2)]

    def startup(self, choice: Choice = None) -> Startup:
        return Startup(
            connection=self.connection,
            group=self.group,
            names=self.names,
            partitions=2,
            replication=1,
            choice=choice,
        )

    @asynccontextmanager
    async def started(self, choice: Choice = None) -> AsyncIterator[Startup]:
        """A start that is under way; it is done when `waiting_for` is None."""
        startup = self.startup(choice)
        starting = asyncio.create_task(startup.start())
        try:
            yield startup
        finally:
            await startup.stop()
            await asyncio.wait_for(starting, 10)

    async def committed(self, startup: Startup) -> list[int | None]:
        found = await startup.offsets.all_committed(self.places)
        return [found[place].offset for place in self.places]

    async def actions(self, *counts: int) -> None:
        """Make the actions topic, with so many records in each of its partitions."""
        await make_topics(self.servers, len(counts), self.names.actions)
        async with AIOKafkaProducer(**self.connection) as producer:
            for partition, count in enumerate(counts):
                for _ in range(count):
                    await producer.send_and_wait(self.names.actions, b"x", partition=partition)
        # Retention has deleted the first record of the first partition.
        async with administering(**self.connection) as admin:
            await admin.delete_records({self.places[0]: RecordsToDelete(before_offset=1)})


@pytest.fixture
def bench(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> Bench:
    return Bench(kafka.bootstrap_servers, unique_name("t"))


@pytest.mark.kafka
async def test_on_an_empty_cluster_everything_is_made_and_the_group_begins(bench: Bench) -> None:
    """Topics are there, and every partition has a committed offset: nobody is asked for a decision."""
    async with bench.started() as startup:
        await happens(lambda: startup.waiting_for is None)
        assert startup.topics is not None
        assert startup.topics.partitions == 2
        assert await bench.committed(startup) == [0, 0]


@pytest.mark.kafka
@pytest.mark.parametrize(("choice", "offsets"), [("earliest", [1, 0]), ("latest", [3, 2])])
async def test_a_new_group_begins_where_the_choice_says(
    bench: Bench, choice: Choice, offsets: list[int]
) -> None:
    """Earliest is the first record that is still there, latest the end, in every partition."""
    await bench.actions(3, 2)
    async with bench.started(choice) as startup:
        await happens(lambda: startup.waiting_for is None)
        assert await bench.committed(startup) == offsets


@pytest.mark.kafka
async def test_without_a_choice_a_new_group_waits_and_commits_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Records and no offsets: what is awaited names the group, the topic, the number and the setting."""
    await bench.actions(3, 2)
    async with bench.started() as startup:
        await happens(lambda: "decision" in (startup.waiting_for or ""))
        awaited = startup.waiting_for or ""
        assert startup.needs_operator == awaited
        for words in (f"group {bench.group} ", bench.names.actions, " 4 records", "ACTIONS_START"):
            assert words in awaited
        assert await bench.committed(startup) == [None, None]
    assert awaited in caplog.text


@pytest.mark.kafka
async def test_offsets_that_are_committed_are_left_alone(bench: Bench) -> None:
    """A group that has begun goes on where it was; a partition without an offset is left to its lane."""
    await bench.actions(3, 2)
    await commit(bench.servers, bench.group, {bench.places[0]: OffsetAndMetadata(2, "kept")})
    async with bench.started("latest") as startup:
        await happens(lambda: startup.waiting_for is None)
        assert await bench.committed(startup) == [2, None]
        assert (await startup.offsets.committed(bench.places[0])).metadata == "kept"


@pytest.mark.kafka
async def test_topics_that_cannot_work_together_end_the_start(bench: Bench) -> None:
    """No waiting and no retry where only a person can help."""
    await bench.actions(1, 1)
    await make_topics(bench.servers, 3, bench.names.statuses)
    startup = bench.startup()
    with pytest.raises(TopicsUnfit):
        await startup.start()
    await startup.stop()


# -- without a Kafka -------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["refuses", "hangs up"])
async def test_a_kafka_that_is_down_is_awaited_and_can_be_given_up(
    unique_name: Callable[[str], str], caplog: pytest.LogCaptureFixture, behaviour: str
) -> None:
    """Refused or cut connections: the wait goes on, says so, and ends when the worker is told to stop."""
    caplog.set_level(logging.WARNING)
    attempts = asyncio.Event()

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.set()
        writer.close()

    server: Any = None
    port = free_port()
    if behaviour == "hangs up":
        server = await asyncio.start_server(hang_up, "127.0.0.1", port)
    bench = Bench(f"127.0.0.1:{port}", unique_name("t"))
    async with bench.started() as startup:
        await happens(lambda: "(" in (startup.waiting_for or ""))
        assert startup.needs_operator is None
        assert startup.waiting_for == "Kafka (KafkaConnectionError)"
        assert attempts.is_set() is (server is not None)
    assert "not ready: waiting for Kafka" in caplog.text
    if server is not None:
        server.close()
        await server.wait_closed()


@pytest.fixture
def lonely(tmp_path: Path, unique_name: Callable[[str], str]) -> Iterator[Installation]:
    """An installation whose broker does not listen. Its workers are killed in the end."""
    with Installation(f"127.0.0.1:{free_port()}", unique_name("t"), tmp_path) as place:
        yield place


def wait_until(condition: Callable[[], bool], worker: WorkerProcess) -> None:
    until = time.monotonic() + 45
    while not condition():
        assert worker.running, worker.tail()
        assert time.monotonic() < until, worker.tail()
        time.sleep(0.1)


@pytest.mark.kafka
def test_a_worker_outlives_a_kafka_that_starts_after_it(lonely: Installation) -> None:
    """Before the broker listens: alive, not ready, naming Kafka. Afterwards: ready, without a restart."""
    worker = lonely.worker()
    worker.start()
    wait_until(lambda: worker.get("/readyz")[0] == 503, worker)
    assert worker.get("/livez")[0] == 200
    assert "Kafka" in worker.problems()[0]
    with EmbeddedKafka(port=int(lonely.bootstrap_servers.rpartition(":")[2]), heap="256m"):
        wait_until(lambda: worker.get("/readyz")[0] == 200, worker)
        assert worker.get("/livez")[0] == 200
        assert worker.stop() == 0, worker.tail()


@pytest.mark.kafka
def test_a_worker_that_waits_for_kafka_can_be_stopped(lonely: Installation) -> None:
    """SIGTERM ends a worker that never got to its work, in seconds and with exit code 0."""
    worker = lonely.worker()
    worker.start()
    wait_until(lambda: "Kafka (" in worker.get("/readyz")[1], worker)
    worker.send(signal.SIGTERM)
    assert worker.wait(15) == 0, worker.tail()


def test_a_worker_with_its_table_in_memory_needs_no_folder(lonely: Installation) -> None:
    """Faust's own command starts it, too, where no folder can be made."""
    (lonely.folder / "file").touch()
    worker = lonely.worker(store="memory", store_folder=lonely.folder / "file/state")
    for command in (["streams", "worker"], ["faust", "--quiet", "-A", "streams.app", "worker"]):
        worker.start([sys.executable, "-m", *command])
        wait_until(lambda: worker.get("/livez")[0] == 200, worker)
        assert worker.stop() == 0, worker.tail()


def test_a_store_folder_is_made_with_those_above_it(lonely: Installation) -> None:
    """Whatever its name: braces in it are no place for Faust's configuration."""
    folder = lonely.folder / "new/{state}"
    worker = lonely.worker(store="rocksdb", store_folder=folder)
    worker.start([sys.executable, "-m", "faust", "--quiet", "-A", "streams.app", "worker"])
    wait_until(lambda: worker.get("/livez")[0] == 200, worker)
    assert folder.is_dir()


def test_pages_can_be_served_at_ipv6_alone(lonely: Installation) -> None:
    """`::` is every address of IPv6, and none of IPv4."""
    worker = lonely.worker(web_host="::")
    worker.start()

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://[::1]:{worker.port}/livez", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    wait_until(answers, worker)
    assert worker.get("/livez")[0] == 0
