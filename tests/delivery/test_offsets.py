"""What a real cluster says of offsets."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
)
from aiokafka.protocol.commit import OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata

from streams.delivery.offsets import Extent, Offsets
from streams.delivery.transaction import Position
from streams.delivery.transaction_requests import OffsetFetchRequest_v7, OffsetFetchResponse_v7
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import administering, make_topics

pytestmark = pytest.mark.kafka


@pytest.fixture
async def topic(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> str:
    name = unique_name("actions")
    await make_topics(kafka.bootstrap_servers, 2, name)
    return name


@pytest.fixture
async def offsets(kafka: EmbeddedKafka, topic: str) -> AsyncIterator[Offsets]:
    offsets = Offsets(f"group-of-{topic}", {"bootstrap_servers": kafka.bootstrap_servers})
    await offsets.start()
    yield offsets
    await offsets.stop()


async def test_what_the_group_committed_comes_back_with_its_metadata(
    kafka: EmbeddedKafka, topic: str, offsets: Offsets
) -> None:
    """Offset and metadata as committed; an offset of None where the group committed nothing."""
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    assert await offsets.all_committed([zero, one]) == {zero: Position(None, ""), one: Position(None, "")}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, group_id=f"group-of-{topic}", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign([zero])
    await consumer.commit({zero: OffsetAndMetadata(7, "cs1.some.text")})
    assert await offsets.committed(zero) == Position(7, "cs1.some.text")
    await consumer.commit({zero: OffsetAndMetadata(0, "")})
    assert await offsets.all_committed([zero, one]) == {zero: Position(0, ""), one: Position(None, "")}
    await consumer.stop()


async def test_what_is_decided_is_what_is_committed_once_no_transaction_is_open(
    kafka: EmbeddedKafka, topic: str, offsets: Offsets
) -> None:
    """An offset in an open transaction is waited for; one of another partition is not."""
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    assert await offsets.decided(zero) == Position(None, "")
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"of-{topic}")
    await producer.start()
    await producer.begin_transaction()
    await producer.send_offsets_to_transaction({zero: OffsetAndMetadata(7, "cs1")}, f"group-of-{topic}")
    assert await offsets.committed(zero) == Position(None, "")
    waiting = asyncio.create_task(offsets.decided(zero))
    assert await offsets.decided(one) == Position(None, "")
    assert not waiting.done()
    await producer.commit_transaction()
    async with asyncio.timeout(30):
        assert await waiting == Position(7, "cs1")
    await producer.stop()


async def test_a_broker_that_cannot_tell_what_is_decided_is_asked_for_what_is_committed(
    offsets: Offsets, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One before Kafka 2.5 does not know the request: there nobody shares a transaction either."""
    send = offsets._admin._send_request

    async def send_known(request: object, *args: object) -> object:
        if isinstance(request, OffsetFetchRequest_v7):
            raise IncompatibleBrokerVersion
        return await send(request, *args)

    monkeypatch.setattr(offsets._admin, "_send_request", send_known)
    assert await offsets.decided(TopicPartition(topic, 0)) == Position(None, "")


@pytest.mark.parametrize("error", [14, 15, 16])
async def test_a_coordinator_that_cannot_say_is_not_taken_for_no_commit(
    offsets: Offsets, topic: str, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """While a coordinator loads, moves or is unknown, asking fails: a lane must not begin from the start."""

    async def answer(*_: object) -> OffsetFetchResponse_v3:
        return OffsetFetchResponse_v3(0, [], error)

    # A real coordinator loads for some milliseconds after a broker's failure: not to be met on purpose.
    find_coordinator = offsets._admin._send_request  # the request that names no node
    monkeypatch.setattr(
        offsets._admin, "_send_request", lambda *args: (answer if args[1:] else find_coordinator)(*args)
    )
    with pytest.raises(CoordinatorNotAvailableError):
        await offsets.committed(TopicPartition(topic, 0))


@pytest.mark.parametrize(
    ("whole", "partition", "error"),
    [(14, 0, CoordinatorLoadInProgressError), (30, 0, GroupAuthorizationFailedError), (0, 3, KafkaError)],
)
async def test_an_error_is_no_decided_position(
    offsets: Offsets, topic: str, monkeypatch: pytest.MonkeyPatch, whole: int, partition: int, error: type
) -> None:
    """Of the whole answer or of the partition: it is raised, and never taken for no commit."""
    find_coordinator = offsets._admin._send_request

    async def answer(*_: object) -> OffsetFetchResponse_v7:
        topics = [(topic, [(0, -1, -1, "", partition, {})], {})]
        return OffsetFetchResponse_v7(0, [] if whole else topics, whole, {})

    monkeypatch.setattr(
        offsets._admin, "_send_request", lambda *args: (answer if args[1:] else find_coordinator)(*args)
    )
    with pytest.raises(error):
        await offsets.decided(TopicPartition(topic, 0))


async def test_extents_are_the_first_offset_and_the_high_watermark(
    kafka: EmbeddedKafka, topic: str, offsets: Offsets
) -> None:
    """Both ends follow the log: what was written, what was deleted; an open transaction counts as written."""
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"of-{topic}")
    await producer.start()
    await producer.begin_transaction()
    for number in range(5):
        await (await producer.send(topic, b"%d" % number, partition=0))
    assert await offsets.extents([zero, one]) == {zero: Extent(0, 5), one: Extent(0, 0)}
    await producer.abort_transaction()
    await producer.stop()
    async with administering(kafka.bootstrap_servers) as admin:
        await admin.delete_records({zero: RecordsToDelete(before_offset=3)})
    extents = await offsets.extents([zero])
    assert extents[zero].first == 3
    assert extents[zero].end == 6  # with the abort marker


async def test_many_that_ask_at_once_share_two_connections(kafka: EmbeddedKafka, topic: str) -> None:
    """Lanes that open side by side start the clients once; after stop they can be started again."""
    offsets = Offsets(f"group-of-{topic}", {"bootstrap_servers": kafka.bootstrap_servers})
    zero = TopicPartition(topic, 0)
    for _ in range(2):
        before = len(asyncio.all_tasks())
        found = await asyncio.gather(*(offsets.committed(zero) for _ in range(8)), offsets.extents([zero]))
        assert found[:-1] == [Position(None, "")] * 8
        await offsets.stop()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == before, "a client that nobody stops"


async def test_no_broker_is_a_kafka_error(unused_tcp_port: int) -> None:
    """Refused connections raise KafkaError, at once."""
    offsets = Offsets("group", {"bootstrap_servers": f"127.0.0.1:{unused_tcp_port}"})
    async with asyncio.timeout(10):
        with pytest.raises(KafkaError):
            await offsets.start()
        with pytest.raises(KafkaError):
            await offsets.committed(TopicPartition("actions", 0))
    await offsets.stop()
