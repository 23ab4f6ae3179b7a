"""The bridge under load, killed again and again, and each side gone for a while."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from examples.proca.demo.proca import Proca, dumped, message
from examples.proca.demo.processes import BridgeProcess
from examples.proca.demo.rabbitmq import RabbitMq
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.ports import free_port
from tests.clients import happens, make_topics
from tests.integration.steps import Make as MakeInstallation
from tests.integration.steps import emails_of
from tests.integration.topics import read

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
Make = Callable[..., BridgeProcess]
KILLS = 20


def test_twenty_kills_under_load_lose_nothing(
    rabbitmq: RabbitMq,
    kafka: EmbeddedKafka,
    bridge: Make,
    installation: MakeInstallation,
) -> None:
    """Killed at twenty random moments while messages come: every message is in Kafka, few of them twice.

    Behind it, a worker with a window for duplicates writes one email for each person.
    """
    place = installation(duplicate_window=3_600, topic_partitions=4)
    topic = place.names.actions
    worker = place.worker()
    worker.start()
    worker.wait_ready()
    process = bridge("actions", topic)
    chance = random.Random(7)
    bodies = [dumped(message(number)) for number in range(20_000)]

    async def through() -> list[bytes]:
        async with Proca(rabbitmq.url) as proca:
            await proca.declare(310)
            process.start()
            await happens(lambda: process.ready)
            publishing = asyncio.create_task(proca.publish("org.310.confirm.supporter", bodies))
            for _ in range(KILLS):
                forwarded = process.counter("bridge_messages_forwarded_total")
                await happens(
                    lambda before=forwarded: (
                        process.counter("bridge_messages_forwarded_total") > before or publishing.done()
                    )
                )
                await asyncio.sleep(chance.random() * 0.2)  # so that it dies at any step
                process.kill()
                process.start()
                await happens(lambda: process.ready)
            await publishing
            everything = set(bodies)
            records = await read(
                kafka.bootstrap_servers, topic, lambda found: {each.value for each in found} >= everything
            )
        assert process.stop() == 0
        return [each.value for each in records]

    found = Counter(asyncio.run(through()))
    assert found.keys() == set(bodies)
    repeated = sum(found.values()) - len(found)
    assert repeated <= KILLS * 1_000  # what one bridge has in its hands
    worker.wait_counter(sum(found.values()), "confirmation_actions_taken_total", 120)
    assert worker.stop() == 0
    emails = asyncio.run(emails_of(place, len(bodies)))
    assert Counter(email["actionId"] for email in emails) == Counter(range(len(bodies)))


def test_rabbitmq_may_restart(
    rabbitmq: RabbitMq, kafka: EmbeddedKafka, bridge: Make, unique_name: Callable[[str], str]
) -> None:
    """Stopped in good order or killed, it keeps its messages, and the bridge finds it again."""
    topic = unique_name("actions")
    process = bridge("actions", topic)
    bodies = [dumped(message(number)) for number in range(600)]

    async def publish(some: list[bytes]) -> None:
        async with Proca(rabbitmq.url) as proca:
            await proca.declare(310)
            await proca.publish("org.310.confirm.supporter", some)

    asyncio.run(make_topics(kafka.bootstrap_servers, 2, topic))
    asyncio.run(publish([]))
    process.start()
    for number, end in enumerate((rabbitmq.stop, rabbitmq.process.kill)):
        asyncio.run(happens(lambda: process.ready))
        process.send(signal.SIGSTOP)
        asyncio.run(publish(bodies[number * 200 : number * 200 + 200]))
        end()
        process.send(signal.SIGCONT)
        asyncio.run(happens(lambda: process.get("/readyz")[0] == 503))
        rabbitmq.start()
    asyncio.run(happens(lambda: process.ready))
    asyncio.run(publish(bodies[400:]))
    records = asyncio.run(
        read(kafka.bootstrap_servers, topic, lambda found: {each.value for each in found} >= set(bodies))
    )
    assert {each.value for each in records} == set(bodies)
    assert process.stop() == 0


def test_kafka_may_be_away(rabbitmq: RabbitMq, bridge: Make, unique_name: Callable[[str], str]) -> None:
    """While it is not there, messages wait in the queue, and the bridge is alive and not ready."""
    topic = unique_name("actions")
    port = free_port()
    process = bridge("actions", topic, kafka_bootstrap_servers=f"127.0.0.1:{port}")
    bodies = [dumped(message(number)) for number in range(300)]

    async def publish(some: list[bytes]) -> None:
        async with Proca(rabbitmq.url) as proca:
            await proca.declare(310)
            await proca.publish("org.310.confirm.supporter", some)

    asyncio.run(publish([]))
    process.start()
    asyncio.run(happens(lambda: process.counter("bridge_failures_total") > 0, 60))
    assert (process.get("/livez")[0], process.get("/readyz")[0]) == (200, 503)
    with EmbeddedKafka(port=port) as kafka:
        asyncio.run(make_topics(kafka.bootstrap_servers, 1, topic))
        asyncio.run(happens(lambda: process.ready, 60))
        asyncio.run(publish(bodies[:100]))
        asyncio.run(happens(lambda: process.counter("bridge_messages_forwarded_total") == 100))
        kafka.kill(1)
        asyncio.run(publish(bodies[100:]))
        kafka.restart(1)
        records = asyncio.run(
            read(kafka.bootstrap_servers, topic, lambda found: {each.value for each in found} >= set(bodies))
        )
        assert {each.value for each in records} == set(bodies)
    assert process.stop() == 0
