"""The proxy itself: what it passes on, and what it breaks."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import make_topics
from tests.faults.kafka_proxy import Answer, Api, CutAfter, Duplicate, Fault, KafkaProxy, LoseResponse
from tests.integration.topics import producing, read, read_count, send

pytestmark = pytest.mark.kafka


@pytest.fixture
async def topic(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> str:
    name = unique_name("proxied")
    await make_topics(kafka.bootstrap_servers, 1, name)
    return name


async def test_a_client_behind_it_never_learns_the_brokers_addresses(
    kafka: EmbeddedKafka, proxy: KafkaProxy
) -> None:
    """Every broker that a client behind the proxy knows is one of the proxy's ports."""
    async with producing(proxy.bootstrap_servers) as producer:
        known = {f"{broker.host}:{broker.port}" for broker in producer.client.cluster.brokers()}
    assert known == set(proxy.bootstrap_servers.split(","))
    assert known.isdisjoint(kafka.bootstrap_servers.split(","))


@pytest.mark.parametrize("fault", [LoseResponse(), CutAfter(), Duplicate()])
async def test_a_fault_befalls_the_request_that_was_chosen(
    kafka: EmbeddedKafka, proxy: KafkaProxy, topic: str, fault: Fault
) -> None:
    """The second produce request suffers, the broker has it all the same; an idempotent client recovers."""
    rule = proxy.add(Api.PRODUCE, fault, skip=1)
    async with producing(
        proxy.bootstrap_servers, enable_idempotence=True, request_timeout_ms=1000
    ) as producer:
        for number in range(3):
            await producer.send_and_wait(topic, b"%d" % number)
    assert rule.hits == 1
    assert rule.wait_answered().topics[0][1][0][1] == 0
    records = await read_count(kafka.bootstrap_servers, topic, 3)
    assert [record.value for record in records] == [b"0", b"1", b"2"]


async def test_an_error_code_reaches_the_client_and_nothing_the_broker(
    kafka: EmbeddedKafka, proxy: KafkaProxy, topic: str
) -> None:
    """An answered error is what the client raises; the record is not in the topic."""
    proxy.add(Api.PRODUCE, Answer(29))
    async with producing(proxy.bootstrap_servers) as producer:
        with pytest.raises(KafkaError, match="29"):
            await producer.send_and_wait(topic, b"refused")
        await producer.send_and_wait(topic, b"accepted")
    records = await read(kafka.bootstrap_servers, topic, lambda found: len(found) > 1, seconds=0.5)
    assert [record.value for record in records] == [b"accepted"]


async def test_a_cut_lasts_until_it_is_healed_and_a_pause_until_it_is_resumed(
    proxy: KafkaProxy, topic: str
) -> None:
    """While cut, connecting fails; while paused, a request waits; afterwards both work."""
    proxy.cut()
    producer = AIOKafkaProducer(bootstrap_servers=proxy.bootstrap_servers)
    with pytest.raises(KafkaError):
        await producer.start()
    await producer.stop()
    proxy.heal()
    proxy.pause()
    sending = asyncio.create_task(send(proxy.bootstrap_servers, topic, [(None, b"x")]))
    done, _ = await asyncio.wait({sending}, timeout=0.3)
    assert not done
    proxy.resume()
    assert await asyncio.wait_for(sending, 20) == [(0, 0)]
