"""The bridge as a process, between a real RabbitMQ and a real Kafka."""

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aio_pika.exceptions import ChannelPreconditionFailed

from examples.proca.bridge import kafka_headers
from examples.proca.demo.proca import Proca, dumped, event, message, ref
from examples.proca.demo.processes import BridgeProcess
from examples.proca.demo.rabbitmq import RabbitMq
from streams.messages.decode import decode_action, decode_supporter_status
from streams.messages.keys import partition_of
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import happens, make_topics
from tests.integration.topics import read, read_count

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(150)]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Make = Callable[..., BridgeProcess]


def test_each_message_becomes_an_action_and_none_is_refused(
    rabbitmq: RabbitMq, kafka: EmbeddedKafka, bridge: Make, unique_name: Callable[[str], str]
) -> None:
    """Byte for byte, under its key in its partition, with its headers; what has no key or room is kept."""
    topic = unique_name("actions")
    first = bridge("actions", topic)
    queue = first.environ["BRIDGE_QUEUE_PREFIX"] + ".actions"
    good = [dumped(message(number)) for number in range(20)]
    older = dumped(message(21, schema="proca:action:1", contact={"ref": ref(21), "email": "b@example.org"}))
    keyless = [b"", b"{poison", b"\xff\xfe", dumped(message(22, contact=None)), dumped({"orgId": 310})]
    large = dumped(message(23, tracking="x" * 60_000))

    async def through() -> list[Any]:
        await make_topics(kafka.bootstrap_servers, 3, topic, max_message_bytes="50000")
        async with Proca(rabbitmq.url) as proca:
            await proca.declare(310)
            first.start()
            await happens(lambda: first.ready)
            headers = {
                "traceparent": TRACEPARENT,
                "retries": 3,
                "x-death": [{"count": 1}],
                "raw": bytearray(b"\xff"),
            }
            await proca.publish("org.310.confirm.supporter", [*good, older], **headers)
            await proca.publish("org.310.confirm.supporter", [*keyless, large, dumped(message(24))])
            records = await read_count(kafka.bootstrap_servers, topic, 27)
            await happens(lambda: first.counter("bridge_messages_forwarded_total") == 27)
            assert await proca.waiting(queue) == 0
            kept = await (await proca.channel.get_queue(f"{queue}.too-large")).get()
            assert (kept.body, kept.headers["bridge-exchange"]) == (large, "org.310.confirm.supporter")
            with pytest.raises(ChannelPreconditionFailed):  # another argument: it is not a queue of Proca's
                await proca.channel.declare_queue(queue, durable=True)
        return records

    records = asyncio.run(through())
    assert sorted(each.value for each in records) == sorted([*good, older, *keyless, dumped(message(24))])
    for each in records:
        if each.value in keyless:
            assert each.key is None
            continue
        action = decode_action(each.value)
        assert action is not None
        assert each.key == f"310:{action.contact_ref}".encode()
        assert each.partition == partition_of(each.key, 3)
        if action.action_id < 24:
            assert dict(each.headers) == {
                "traceparent": TRACEPARENT.encode(),
                "retries": b"3",
                "x-death": b'[{"count":1}]',
                "raw": b"\xff",
            }
    counted = {
        name: first.counter(f"bridge_messages_{name}_total", topic=topic)
        for name in ("without_key", "too_large", "redelivered")
    }
    assert counted == {"without_key": 5, "too_large": 1, "redelivered": 0}
    assert first.counter("bridge_queue_messages", topic=topic) == 0
    assert first.counter("bridge_ready", topic=topic) == 1
    assert first.get("/livez")[0] == 200
    assert first.stop() == 0
    log = first.log.read_text()
    assert "example.org" not in log
    assert ref(1) not in log


def test_nothing_is_lost_when_a_bridge_dies_at_any_step(
    rabbitmq: RabbitMq, kafka: EmbeddedKafka, bridge: Make, unique_name: Callable[[str], str]
) -> None:
    """Killed before it read, before Kafka had it, and before RabbitMQ knew: its successor delivers all."""
    topic = unique_name("actions")
    first, second = bridge("actions", topic), bridge("actions", topic)
    queue = first.environ["BRIDGE_QUEUE_PREFIX"] + ".actions"
    bodies = [dumped(message(number)) for number in range(300)]

    async def through() -> set[bytes]:
        async with Proca(rabbitmq.url) as proca:
            await proca.declare(310)
            # There is no topic yet: the bridge waits for it, and reads nothing.
            first.start()
            await happens(lambda: first.counter("bridge_failures_total", error="FeedError") > 1)
            assert first.get("/readyz")[0] == 503
            await make_topics(kafka.bootstrap_servers, 2, topic)
            await happens(lambda: first.ready)
            # While the bridge stands still, messages are in its hands, and neither side knows more.
            first.send(signal.SIGSTOP)
            await proca.publish("org.310.confirm.supporter", bodies[:100])
            first.kill()
            await happens(lambda: _all_waiting(proca, queue, 100))
            # A bridge that is killed at work has written some that RabbitMQ does not know of.
            second.start()
            await proca.publish("org.310.confirm.supporter", bodies[100:200])
            await happens(lambda: second.counter("bridge_messages_forwarded_total") > 0)
            second.kill()
            await proca.publish("org.310.confirm.supporter", bodies[200:])
            # Of two bridges one is at work; when it ends, the other is.
            first.start()
            await happens(lambda: first.ready)
            records = await read(
                kafka.bootstrap_servers, topic, lambda found: {each.value for each in found} >= set(bodies)
            )
            await happens(lambda: _all_waiting(proca, queue, 0))
        assert first.stop() == 0
        return {each.value for each in records}

    assert asyncio.run(through()) == set(bodies)


async def _all_waiting(proca: Proca, queue: str, count: int) -> bool:
    return await proca.waiting(queue) == count


def test_statuses_are_rows_that_the_worker_reads(
    rabbitmq: RabbitMq, kafka: EmbeddedKafka, bridge: Make, unique_name: Callable[[str], str]
) -> None:
    """What was delivered with a double opt-in, and who unsubscribed later; no other message writes a row."""
    topic = unique_name("statuses")
    statuses = bridge("statuses", topic)
    doubled = {"emailStatus": "double_opt_in", "emailStatusChanged": "2026-11-24T11:00:00Z"}
    lost = {"emailStatus": "unsub", "emailStatusChanged": "2026-11-25T09:00:00Z"}
    delivered = message(1, stage="deliver")

    async def through() -> list[Any]:
        await make_topics(kafka.bootstrap_servers, 1, topic)
        async with Proca(rabbitmq.url) as proca:
            await proca.declare(310)
            statuses.start()
            await happens(lambda: statuses.ready)
            with_double = delivered | {"privacy": delivered["privacy"] | doubled}
            bodies = [dumped(with_double), dumped(message(2, stage="deliver")), b"{poison"]
            await proca.publish("org.310.deliver", bodies)
            await proca.publish("org.310.event", [dumped(event(1, **lost))], key="supporter.email_status")
            await proca.publish("org.310.event", [dumped({"campaignId": 1})], key="system.campaign_updated")
            rows = await read_count(kafka.bootstrap_servers, topic, 2)
            await happens(lambda: statuses.counter("bridge_messages_skipped_total") == 2)
        return rows

    rows = asyncio.run(through())
    read_back = [decode_supporter_status(row.key, row.value) for row in rows]
    assert [(each.contact_ref, each.subscribed) for each in read_back] == [(ref(1), True), (ref(1), False)]
    assert statuses.counter("bridge_messages_skipped_total", why="no_consent_known") == 1
    assert statuses.counter("bridge_messages_skipped_total", why="unreadable") == 1
    assert statuses.stop() == 0


def test_each_header_s_value_has_bytes() -> None:
    """Texts are UTF-8, bytes stay, and what is neither is JSON: no type of AMQP makes a record impossible."""
    headers = {"t": "é", "b": b"\xff", "a": bytearray(b"x"), "n": None, "f": 0.5, "l": [1], "s": "\ud800"}
    found = dict(kafka_headers(headers | {"d": Decimal("1.5"), "at": datetime(2026, 1, 1, tzinfo=UTC)}))
    assert found == {
        "t": "é".encode(),
        "b": b"\xff",
        "a": b"x",
        "n": None,
        "f": b"0.5",
        "l": b"[1]",
        "s": b"\xed\xa0\x80",
        "d": b'"1.5"',
        "at": b'"2026-01-01T00:00:00+00:00"',
    }
