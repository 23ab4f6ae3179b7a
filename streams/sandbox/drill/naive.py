"""The consumer as it was: it awaits each lookup before it sends the email, and stops at the first error.

Kept for comparison, and with the faults that the drill shows: do not build on it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from streams.kafka.topics import administering
from streams.sandbox.drill.crowd import Group, group_of


@dataclass(slots=True)
class NaiveRun:
    """What it came to. ``ended``: the name of the error that stopped it, ``time`` or ``end of topic``."""

    sent: Counter[Group] = field(default_factory=Counter)
    ended: str = "end of topic"


async def run_naive(
    bootstrap_servers: str,
    actions_topic: str,
    emails_topic: str,
    urls: Mapping[int, str],
    *,
    partitions: int,
    seconds: float,
) -> NaiveRun:
    """Read all actions that are on the topic, and stop at the first error, or after so many seconds.

    Args:
        bootstrap_servers: Kafka.
        actions_topic: read from its beginning.
        emails_topic: made and written.
        urls: the lookup service of each organisation.
        partitions: of the actions topic.
        seconds: after which the drill goes on without it.

    Raises:
        KafkaError: Kafka cannot be reached.
    """
    run = NaiveRun()
    places = [TopicPartition(actions_topic, number) for number in range(partitions)]
    async with administering({"bootstrap_servers": bootstrap_servers}) as admin:
        await admin.create_topics([NewTopic(emails_topic, partitions, 1)])
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    producer: Any = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await consumer.start()
    await producer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        left = sum((await consumer.end_offsets(places)).values())
        async with asyncio.timeout(seconds), httpx.AsyncClient(trust_env=False) as client:
            while left:
                record = await consumer.getone()
                await _confirm(client, producer, emails_topic, urls, record.value, run)
                left -= 1
    except TimeoutError:
        run.ended = "time"
    except Exception as error:  # whatever it is, it stops, and nobody catches it: that was the incident
        run.ended = type(error).__name__
    finally:
        await producer.stop()  # what it was given to send, it still sends
        await consumer.stop()
    return run


async def _confirm(
    client: httpx.AsyncClient,
    producer: Any,
    emails_topic: str,
    urls: Mapping[int, str],
    value: bytes,
    run: NaiveRun,
) -> None:
    action = json.loads(value)
    if action["actionId"] < 0:
        return  # the warm-up's: only a worker has one
    contact = action["contact"]
    question = {"email": contact["email"], "contactRef": contact["contactRef"]}
    response = await client.post(urls[action["orgId"]], json=question)
    response.raise_for_status()
    opted_in = response.json().get("privacy", {}).get("optIn")
    email = {"variant": "one_button" if opted_in else "two_button", "action": action}
    await producer.send(emails_topic, json.dumps(email).encode())
    run.sent[group_of(action["actionId"])] += 1
