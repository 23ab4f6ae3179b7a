"""Topics of their own on the session's Kafka, and the commands as a person runs them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from streams.embedded import EmbeddedKafka
from tests.audit.topics import Topics

Make = Callable[..., Awaitable[Topics]]


@pytest.fixture
def topics(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> Make:
    """Make topics; their configurations are given by what they are called in TopicNames."""

    async def make(partitions: int = 2, **configs: dict[str, str]) -> Topics:
        made = Topics(kafka.bootstrap_servers, unique_name("a"), partitions)
        await made.create(**configs)
        return made

    return make


async def streams(topics: Topics, *arguments: str, stdin: bytes = b"") -> Any:
    """Run a command on these topics; returns its completed process with texts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "streams",
        *arguments,
        env={"PATH": os.environ["PATH"], **topics.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    return subprocess.CompletedProcess(arguments, process.returncode or 0, out.decode(), err.decode())
