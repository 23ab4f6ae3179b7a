"""Topics of their own on the session's Kafka, and the commands as a person runs them."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from click.testing import CliRunner, Result

from streams.__main__ import main
from streams.sandbox.kafka import EmbeddedKafka
from tests.commands.topics import Topics

Make = Callable[..., Awaitable[Topics]]


@pytest.fixture
def topics(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> Make:
    """Make topics; their configurations are given by what they are called in TopicNames."""

    async def make(partitions: int = 2, **configs: dict[str, str]) -> Topics:
        made = Topics(kafka.bootstrap_servers, unique_name("a"), partitions)
        await made.create(**configs)
        return made

    return make


async def streams(topics: Topics, *arguments: str) -> Result:
    """Run a command on these topics, in this process but for its event loop; returns its click result."""
    runner = CliRunner()
    environ = {**dict.fromkeys(name for name in os.environ if name.startswith("STREAMS_")), **topics.environ}
    result = await asyncio.to_thread(runner.invoke, main, arguments, env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
