"""The independent reader: it sees what a mailer sees, and notes when.

It has a thread and an event loop of its own, so that nothing else in the drill delays what it measures.
"""

from __future__ import annotations

import asyncio
import threading
import time
from types import TracebackType
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.sandbox.drill.figures import Arrival
from streams.sandbox.errors import SandboxError

_POLL = 100  # milliseconds; a record ends the wait at once
_STARTED_WITHIN = 20.0  # seconds


class _Email(msgspec.Struct):
    actionId: int


_decode = msgspec.json.Decoder(_Email).decode


class Mailer:
    """Reads committed emails from the beginning, without a group. As a context manager, starts and stops."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        """Describe the reader of a topic that exists."""
        self._bootstrap_servers = bootstrap_servers
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self._arrivals: list[Arrival] = []
        self._seen: set[int] = set()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mailer", daemon=True)

    @property
    def seen(self) -> int:
        """Actions that have an email.

        Raises:
            SandboxError: the reader has ended.
        """
        if self._failure is not None:
            raise SandboxError(f"The reader of the emails has ended ({type(self._failure).__name__}).")
        return len(self._seen)

    @property
    def arrivals(self) -> list[Arrival]:
        """Every email so far."""
        return list(self._arrivals)

    def forget(self) -> None:
        """Count from now on; nothing may be on its way."""
        self._arrivals, self._seen = [], set()

    def __enter__(self) -> Mailer:
        self._thread.start()
        if not self._ready.wait(_STARTED_WITHIN):
            self._stopping.set()
            raise SandboxError("The reader of the emails cannot reach Kafka.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(_STARTED_WITHIN)

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except (KafkaError, msgspec.MsgspecError) as error:
            self._failure = error

    async def _read(self) -> None:
        consumer: Any = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            consumer.assign(self._places)
            await consumer.seek_to_beginning(*self._places)
            self._ready.set()
            while not self._stopping.is_set():
                found = await consumer.getmany(timeout_ms=_POLL)
                now = time.time()
                for records in found.values():
                    for record in records:
                        self._note(_decode(record.value).actionId, now)
        finally:
            await consumer.stop()

    def _note(self, action_id: int, now: float) -> None:
        self._arrivals.append(Arrival(action_id, now))
        self._seen.add(action_id)
