"""The independent reader of a demo or drill: it sees what a mailer sees, and notes when.

It has a thread and an event loop of its own, so that nothing else in the process delays what it measures.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from streams.sandbox.errors import SandboxError

_POLL = 100  # milliseconds; a record ends the wait at once
_STARTED_WITHIN = 20.0  # seconds
_READ_WITHIN = 15.0  # seconds, from the end of the actions' flow to the end of the topics


class Arrival(NamedTuple):
    """A record, and when it was there to be read."""

    record: Any
    seen_at: float  # seconds since the epoch


class Mailer:
    """Reads topics from their beginning, committed records only, without a group.

    As a context manager, starts and ends. Its methods may be called from any thread but its own.
    """

    def __init__(self, bootstrap_servers: str, topics: Sequence[str]) -> None:
        """Describe the reader of topics that exist."""
        self._bootstrap_servers = bootstrap_servers
        self._topics = topics
        self._arrivals: deque[Arrival] = deque()
        self._started = threading.Event()
        self._finishing = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mailer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(_STARTED_WITHIN):
            self._finishing.set()
            raise SandboxError("The reader of the emails cannot reach Kafka.")
        return self

    def __exit__(self, *_: object) -> None:
        self._finishing.set()
        if self._thread.is_alive():
            self._thread.join(_READ_WITHIN)

    def take(self) -> list[Arrival]:
        """Return what has come since the last call. Never waits.

        Raises:
            SandboxError: the reader has ended, as Kafka failed.
        """
        if self._failure is not None:
            raise SandboxError(f"The reader of the emails has ended ({type(self._failure).__name__}).")
        return [self._arrivals.popleft() for _ in range(len(self._arrivals))]

    def finish(self) -> list[Arrival]:
        """Read what is committed by now to its end, and return it. Waits at most 15 s.

        Raises:
            SandboxError: the end could not be read.
        """
        self._finishing.set()
        self._thread.join(_READ_WITHIN)
        if self._thread.is_alive():
            raise SandboxError(f"The emails could not be read to their end within {_READ_WITHIN:g} s.")
        return self.take()

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except KafkaError as error:
            self._failure = error
            self._started.set()

    async def _read(self) -> None:
        # Without a group, it is given every partition of every topic.
        consumer: Any
        async with AIOKafkaConsumer(
            *self._topics,
            bootstrap_servers=self._bootstrap_servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        ) as consumer:
            self._started.set()
            while not self._finishing.is_set():
                await self._note(consumer)
            ends = await consumer.end_offsets(list(consumer.assignment()))
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                await self._note(consumer)

    async def _note(self, consumer: Any) -> None:
        found = await consumer.getmany(timeout_ms=_POLL)
        now = time.time()
        self._arrivals.extend(Arrival(record, now) for records in found.values() for record in records)
