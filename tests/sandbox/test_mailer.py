"""The independent reader, on a real Kafka."""

import asyncio
import time
from collections.abc import Callable

import pytest

from streams.sandbox.errors import SandboxError
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.mailer import Mailer
from tests.clients import make_topics
from tests.integration.topics import send

pytestmark = pytest.mark.kafka


async def test_it_reads_what_is_committed_to_the_end(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str]
) -> None:
    """Records of each topic come with the time at which they were seen; at the end nothing is left out."""
    servers, first, second = kafka.bootstrap_servers, unique_name("first"), unique_name("second")
    await make_topics(servers, 1, first, second)
    for topic in (first, second):
        await send(servers, topic, [(b"k", b"before")])
    began = time.time()
    with Mailer(servers, (first, second)) as mailer:
        taken = []
        while len(taken) < 2:
            taken += mailer.take()
            await asyncio.sleep(0.05)
        assert {arrival.record.topic for arrival in taken} == {first, second}
        assert all(began <= arrival.seen_at <= time.time() for arrival in taken)
        await send(servers, first, [(b"k", b"%d" % number) for number in range(2_000)])
        rest = await asyncio.to_thread(mailer.finish)
    assert [arrival.record.value for arrival in rest] == [b"%d" % number for number in range(2_000)]


def test_a_kafka_that_is_not_there_is_told() -> None:
    """The reader says that it cannot work, and does not wait for ever."""
    with Mailer("127.0.0.1:1", ("any",)) as mailer, pytest.raises(SandboxError, match="has ended"):
        mailer.finish()
