"""Do this machine and the brokers agree on the time?

No Kafka response carries the broker's clock, except the append time of a record. So it takes a record, on a
topic of its own, which is made and removed again: only where somebody asks for it.
"""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, NoError, for_code

from streams.commands.doctor.findings import Finding, note, ok, problem, seconds, warning
from streams.kafka.topics import administering

CHECK = "clock"
_WARN, _BAD = 1.0, 30.0  # seconds
#: Seconds that an email's timestamp may lie before its decision. It is written after it, by the same clock.
_CORRECTED = 600.0
_NTP = "synchronise the clocks (NTP): delays are measured, and answers expire, by them"


async def check_clock(connection: Mapping[str, Any], topic: str) -> list[Finding]:
    """Compare the clocks by a record on `topic`, which is made for it."""
    try:
        async with administering(connection) as admin:
            configs = {"message.timestamp.type": "LogAppendTime", "retention.ms": "60000"}
            response: Any = await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=configs)])
            ((_, code, *_),) = response.topic_errors
            if for_code(code) is not NoError:
                return [note(CHECK, f"the probe topic {topic} cannot be made ({for_code(code).__name__})")]
            try:
                ahead, within = await _probe(connection, topic)
            finally:
                await admin.delete_topics([topic])
    except KafkaError as error:
        return [note(CHECK, f"the probe failed ({type(error).__name__})")]
    return [conclude(ahead, within)]


async def _probe(connection: Mapping[str, Any], topic: str) -> tuple[float, float]:
    """Return how far the broker's clock is ahead, and how far off that may be, in seconds."""
    async with AIOKafkaProducer(**connection) as producer:
        await producer.send_and_wait(topic, b"warm")  # metadata, connections
        before = time.time()
        sent: Any = await producer.send_and_wait(topic, b"probe")
        after = time.time()
    return sent.timestamp / 1000 - (before + after) / 2, (after - before) / 2


def check_emails(records: Iterable[Any]) -> list[Finding]:
    """Tell of workers that wrote emails with another time than their own, since the broker refused that one.

    Args:
        records: the newest of the emails' topic.
    """
    wrong = []
    for record in records:
        try:
            decided = datetime.fromisoformat(orjson.loads(record.value)["decidedAt"]).timestamp()
        except (ValueError, TypeError, KeyError):
            continue  # somebody else's record
        if decided - record.timestamp / 1000 > _CORRECTED:
            wrong.append((record.timestamp, record.partition, decided - record.timestamp / 1000))
    if not wrong:
        return []
    _, partition, ahead = max(wrong)
    return [
        problem(
            CHECK,
            f"the clock of the worker of partition {partition} is ahead of the brokers' clock by up to"
            f" {seconds(ahead)}: the timestamps of its emails had to be corrected",
            _NTP,
        )
    ]


def conclude(ahead: float, within: float) -> Finding:
    """Judge a difference of clocks, known to `within` seconds. Pure."""
    off = max(0.0, abs(ahead) - within)
    text = (
        f"the broker's clock is {seconds(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this machine's"
    )
    if off > _BAD:
        return problem(CHECK, text, _NTP)
    if off > _WARN:
        return warning(CHECK, text, _NTP)
    return ok(CHECK, f"broker and this machine agree to {seconds(max(within, abs(ahead)))}")
