"""The steady producer: acks=all, idempotent, and honest about what it does not know."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, TopicAuthorizationFailedError

from streams.sandbox.people import AS_OF, numbered
from tests.chaos.load import KNOWN, ODDITIES, plan, poison, subscribed
from tests.chaos.verdict import Produced

_TICK = 0.02  # seconds
_UNDER_WAY = 20_000  # records; with more in flight the producer waits
_STATUSES_A_SECOND = 20
#: Errors with which no broker can have kept the record.
_SURELY_NOT = (MessageSizeTooLargeError, TopicAuthorizationFailedError)


class Feed:
    """Sends the load's records in order, `rate()` a second, and keeps what became of each."""

    def __init__(
        self,
        bootstrap_servers: str,
        actions: str,
        statuses: str,
        produced: bytearray,
        rate: Callable[[], float],
    ) -> None:
        self._servers = bootstrap_servers
        self._actions = actions
        self._statuses = statuses
        self._produced = produced
        self._rate = rate
        self._under_way: set[asyncio.Future[Any]] = set()
        self._doubtful = False
        #: Serials below this one were handed to a producer.
        self.sent = 0

    @property
    def done(self) -> bool:
        """Whether every record has an outcome."""
        return self.sent == len(self._produced) and not self._under_way

    async def statuses(self) -> None:
        """Write the status of every known supporter."""
        async with self._producing() as producer:
            for supporter in range(KNOWN):
                key, value = status(supporter, "2026-11-24T10:00:00Z")
                await producer.send(self._statuses, value, key=key)
            await producer.flush()

    async def run(self) -> None:
        """Send everything."""
        while not self.done:
            self._doubtful = False
            async with self._producing() as producer:
                await self._send_until_doubtful(producer)
                with contextlib.suppress(KafkaError):
                    await producer.flush()
                if self._under_way:
                    await asyncio.wait(self._under_way)

    async def _send_until_doubtful(self, producer: AIOKafkaProducer) -> None:
        owed = statuses_owed = 0.0
        last = time.monotonic()
        while self.sent < len(self._produced) and not self._doubtful:
            now = time.monotonic()
            rate = self._rate()
            owed = min(owed + (now - last) * rate, rate * 10)  # after an outage: catch up
            statuses_owed += (now - last) * _STATUSES_A_SECOND
            last = now
            batch = int(min(owed, max(1.0, rate * _TICK * 3), len(self._produced) - self.sent))
            if len(self._under_way) < _UNDER_WAY:
                for _ in range(batch):
                    await self._send(producer)
                owed -= batch
            if statuses_owed >= 1:
                statuses_owed -= 1
                await self._refresh_status(producer)
            await asyncio.sleep(_TICK)

    async def _send(self, producer: AIOKafkaProducer) -> None:
        serial = self.sent
        self.sent += 1
        key, value, headers, timestamp_ms = message(serial)
        self._produced[serial] = Produced.UNKNOWN
        delivery = await producer.send(
            self._actions, value, key=key, headers=headers, timestamp_ms=timestamp_ms
        )
        self._under_way.add(delivery)
        delivery.add_done_callback(partial(self._note, serial))

    def _note(self, serial: int, delivery: asyncio.Future[Any]) -> None:
        self._under_way.discard(delivery)
        error = None if delivery.cancelled() else delivery.exception()
        if delivery.cancelled() or (error is not None and not isinstance(error, _SURELY_NOT)):
            self._doubtful = True  # stays unknown; and the producer's sequence numbers have a gap
        else:
            self._produced[serial] = Produced.OK if error is None else Produced.FAILED

    async def _refresh_status(self, producer: AIOKafkaProducer) -> None:
        now = datetime.now(UTC).isoformat()
        key, value = status(self.sent % KNOWN, now)
        with contextlib.suppress(KafkaError):
            delivery = await producer.send(self._statuses, value, key=key)
            delivery.add_done_callback(lambda done: done.cancelled() or done.exception())

    @contextlib.asynccontextmanager
    async def _producing(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=10,
            max_batch_size=1 << 17,
            request_timeout_ms=30_000,
        )
        while True:
            try:
                await producer.start()
                break
            except KafkaError:
                await asyncio.sleep(0.5)
        try:
            yield producer
        finally:
            await producer.stop()


class Message(NamedTuple):
    """One record of the actions topic."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes | None]]
    timestamp_ms: int | None


def message(serial: int) -> Message:
    """Return the record with this serial."""
    kind, number, action_id = plan(serial)
    supporter = numbered(number)
    if kind == "dead_letter":
        key = (supporter.key, None, b"\xff")[serial // 500 % 3]
        return Message(key, poison(serial), *ODDITIES[serial % len(ODDITIES)])
    action = supporter.action(
        action_id,
        stage="deliver" if kind == "nothing" else "supporter_confirm",
        action={"actionType": "petition", "customFields": {"serial": serial}, "createdAt": AS_OF},
        privacy={"optIn": None, "withConsent": True},
        tracking={"source": "s", "location": "https://example.org"},
    )
    headers, timestamp_ms = ODDITIES[serial // 100 % len(ODDITIES) if serial % 100 == 1 else 0]
    return Message(supporter.key, orjson.dumps(action), headers, timestamp_ms)


def status(supporter: int, as_of: str) -> tuple[bytes, bytes]:
    """Return the key and value of one record of the status topic."""
    row = numbered(supporter)
    return row.key, row.status(subscribed=subscribed(supporter), as_of=as_of)
