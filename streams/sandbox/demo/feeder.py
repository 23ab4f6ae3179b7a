"""Puts actions on their topic at a steady rate, and tells the audit where each one went."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streams.commands.keyed_lines import action_message
from streams.commands.lines import LINE_LIMIT
from streams.sandbox.demo.audit import Asks, Audit, asks
from streams.sandbox.demo.reader import place_id
from streams.sandbox.errors import SandboxError

_TICK = 0.02  # seconds
_ACKNOWLEDGED_WITHIN = 15.0  # seconds


def own_actions(path: Path, most: int) -> Iterator[bytes]:
    """The lines of a file, over and over, each as it is; blank ones are left out.

    No more than ``most`` lines are kept: a demo does not get further.

    Raises:
        SandboxError: it cannot be read, or holds no action.
    """
    try:
        with path.open("rb") as file:
            lines = iter(partial(file.readline, LINE_LIMIT), b"")
            kept = list(islice((line.rstrip(b"\r\n") for line in lines if line.strip()), most))
    except OSError as error:
        raise SandboxError(f"{path} cannot be read: {error.strerror}.") from error
    if not kept:
        raise SandboxError(f"{path} holds no action: one JSON object a line is expected.")
    return cycle(kept)


class Feeder:
    """Sends actions with an idempotent producer: what is acknowledged is in the topic, once."""

    def __init__(self, bootstrap_servers: str, topic: str, actions: Iterator[bytes], rate: float) -> None:
        """Describe the feeder; it connects when it starts. `rate` is in actions per second."""
        self._topic = topic
        self._actions = actions
        self._rate = rate
        self._failure: BaseException | None = None
        self._unacknowledged: set[asyncio.Future[Any]] = set()
        #: Actions that the topic has no room for; they were not sent.
        self.too_large = 0
        self._producer: Any = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True
        )

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError: Kafka cannot be reached.
        """
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect; what is not acknowledged yet is given up."""
        for sent in self._unacknowledged:
            sent.cancel()
        await self._producer.stop()

    async def feed(self, audit: Audit, phase: int, seconds: float) -> None:
        """Send at the rate for so many seconds.

        Raises:
            SandboxError: Kafka refused an action.
        """
        started = time.monotonic()
        sent = 0
        while (elapsed := time.monotonic() - started) < seconds:
            due = int(elapsed * self._rate) + 1
            for action in islice(self._actions, due - sent):
                await self._send(audit, phase, action)
            sent = due
            self._check()
            await asyncio.sleep(_TICK)

    async def acknowledged(self) -> None:
        """Wait until everything that was sent is in the topic.

        Raises:
            SandboxError: Kafka refused an action, or does not answer.
        """
        if self._unacknowledged:
            _, late = await asyncio.wait(self._unacknowledged, timeout=_ACKNOWLEDGED_WITHIN)
            if late:
                raise SandboxError(f"Kafka did not acknowledge {len(late)} actions.")
        self._check()

    async def _send(self, audit: Audit, phase: int, action: bytes) -> None:
        message = action_message(action)
        try:
            sent = await self._producer.send(self._topic, value=message.value, key=message.key)
        except MessageSizeTooLargeError:
            self.too_large += 1
            return
        except KafkaError as error:
            raise SandboxError(f"Kafka refused an action ({type(error).__name__}).") from error
        self._unacknowledged.add(sent)
        sent.add_done_callback(partial(self._answered, audit, phase, asks(action)))

    def _answered(self, audit: Audit, phase: int, what: Asks, sent: asyncio.Future[Any]) -> None:
        self._unacknowledged.discard(sent)
        if sent.cancelled():
            return
        if (failure := sent.exception()) is not None:
            self._failure = failure
            return
        place = sent.result()
        where = place_id(place.topic, place.partition, place.offset)
        audit.fed(where, phase, what, place.timestamp / 1000)

    def _check(self) -> None:
        if self._failure is not None:
            raise SandboxError(f"Kafka refused an action ({type(self._failure).__name__}).")
