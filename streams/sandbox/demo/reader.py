"""The demo's mailer: an independent reader that sees what a mailer sees, and counts it."""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer

from streams.actions.dead_letter import read_dead_letter_headers
from streams.messages.email import NAMESPACE
from streams.sandbox.demo.audit import Audit, Email
from streams.sandbox.demo.letters import Samples

_POLL = 200  # milliseconds


class _Lookup(msgspec.Struct):
    outcome: str
    cause: str | None = None


class _Email(msgspec.Struct):
    id: str
    variant: str
    reason: str
    lookup: _Lookup | None = None


_decode = msgspec.json.Decoder(_Email).decode


def place_id(topic: str, partition: int, offset: int) -> str:
    """The id of the email of the action in this place, as ``confirmation-emails`` defines it."""
    return str(uuid.uuid5(NAMESPACE, f"{topic}/{partition}/{offset}"))


class Reader:
    """Reads emails and dead letters from their beginning, committed ones only, and without a group."""

    def __init__(self, bootstrap_servers: str, emails_topic: str, dead_letters_topic: str) -> None:
        """Describe the reader; it connects when it starts."""
        self.samples = Samples()
        self._emails_topic = emails_topic
        # Without a group, it is given every partition of both.
        self._consumer: Any = AIOKafkaConsumer(
            emails_topic,
            dead_letters_topic,
            bootstrap_servers=bootstrap_servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )

    async def start(self) -> None:
        """Connect; both topics must be there.

        Raises:
            KafkaError: Kafka cannot be asked.
        """
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def read(self, audit: Audit) -> None:
        """Count what comes, until it is cancelled."""
        while True:
            await self._count_what_is_there(audit)

    async def read_to_end(self, audit: Audit) -> None:
        """Count everything that is committed by now. Not while ``read`` runs."""
        ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
        while any([await self._consumer.position(place) < end for place, end in ends.items()]):
            await self._count_what_is_there(audit)

    async def _count_what_is_there(self, audit: Audit) -> None:
        records = await self._consumer.getmany(timeout_ms=_POLL)
        seen_at = time.time()
        for place, messages in records.items():
            count = self._count_email if place.topic == self._emails_topic else _count_dead_letter
            for message in messages:
                count(audit, message, seen_at)

    def _count_email(self, audit: Audit, message: Any, seen_at: float) -> None:
        try:
            email = _decode(message.value)
        except (msgspec.MsgspecError, TypeError):
            # No action has such an id: the audit counts it as uncalled for.
            audit.email(f"unreadable:{message.partition}/{message.offset}", Email("", ""), seen_at)
            return
        asked = email.lookup
        outcome, cause = ("", "") if asked is None else (asked.outcome, asked.cause or "")
        audit.email(email.id, Email(email.variant, email.reason, outcome, cause), seen_at)
        self.samples.add(email.variant, email.reason, message.value)


def _count_dead_letter(audit: Audit, message: Any, _seen_at: float) -> None:
    origin = read_dead_letter_headers(message.headers)
    place = f"{origin.topic}/{origin.partition}/{origin.offset}"
    audit.dead_letter(str(uuid.uuid5(NAMESPACE, place)), origin.error_class)
