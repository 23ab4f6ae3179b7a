"""What is written: the email record, and the headers that say where a dead letter came from."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from streams.messages import Action, ErrorClass, LookupOutcome, Reason, Variant

Headers = list[tuple[str, bytes]]

#: The namespace of every email's id, a UUIDv5 (RFC 9562) of ``topic/partition/offset``.
NAMESPACE = uuid.UUID("3f0c6a52-6c8b-5d7e-9a54-0d6f2a3f7b11")
_TYPE = b"org.proca.confirmation-email.1"
_TRACE = ("traceparent", "tracestate")  # W3C Trace Context


class EmailWriter:
    """Writes the emails of one source partition."""

    def __init__(self, topic: str, partition: int) -> None:
        """Prepare what is the same in all of them."""
        self._place = f"{topic}/{partition}/".encode()
        self._hash = hashlib.sha1(NAMESPACE.bytes + self._place, usedforsecurity=False)
        self._constant: Headers = [
            ("ce_specversion", b"1.0"),
            ("ce_type", _TYPE),
            ("ce_source", b"/" + self._place[:-1]),
            ("content-type", b"application/json"),
        ]

    def id_of(self, offset: int) -> str:
        """Return the id of the email of the action at `offset`: the same whenever it is made."""
        digest = self._hash.copy()
        digest.update(b"%d" % offset)
        raw = bytearray(digest.digest()[:16])
        raw[6] = raw[6] & 0x0F | 0x50  # version 5
        raw[8] = raw[8] & 0x3F | 0x80  # the RFC's variant
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def write(
        self,
        offset: int,
        action: Action,
        original: bytes,
        source_headers: Iterable[tuple[str, bytes]],
        variant: Variant,
        reason: Reason,
        lookup: LookupOutcome | None,
        decided_at: float,
    ) -> tuple[bytes, Headers]:
        """Return an email's value and headers.

        Args:
            offset: of the action.
            action: its deciding fields.
            original: the action, which goes into the email byte for byte.
            source_headers: the action's; its trace context goes on.
            variant: which letter.
            reason: why.
            lookup: what the lookup came to, if it was asked.
            decided_at: seconds since the epoch.
        """
        email_id = self.id_of(offset)
        moment = datetime.fromtimestamp(decided_at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        asked = b"null"
        if lookup is not None:
            asked = b'{"outcome":"%s","cause":%s,"customFields":%s}' % (
                lookup.outcome.encode(),
                b"null" if lookup.cause is None else b'"%s"' % lookup.cause.encode(),
                lookup.custom_fields or b"{}",
            )
        head = (
            f'{{"schema":"confirmation-email:1","id":"{email_id}","variant":"{variant}","reason":"{reason}",'
            f'"actionId":{action.action_id},"orgId":{action.org_id},"decidedAt":"{moment}","lookup":'
        )
        value = b"".join((head.encode(), asked, b',"action":', original, b"}"))
        headers = [
            ("ce_id", email_id.encode()),
            *self._constant,
            ("ce_time", moment.encode()),
            ("variant", variant.encode()),
        ]
        if source_headers:
            headers += [header for header in source_headers if header[0] in _TRACE]
        return value, headers


def dead_letter_headers(
    topic: str,
    partition: int,
    offset: int,
    source_headers: Iterable[tuple[str, bytes]],
    error_class: ErrorClass,
    json_path: str,
) -> Headers:
    """Return a dead letter's headers: the record's own, then where it came from and why.

    The names are those of Kafka Streams (KIP-1034). The text of an exception is left out: it can quote an
    address.
    """
    return [
        *source_headers,
        ("__streams.errors.topic", topic.encode()),
        ("__streams.errors.partition", b"%d" % partition),
        ("__streams.errors.offset", b"%d" % offset),
        ("__streams.errors.exception", error_class.encode()),
        ("errors.json-path", json_path.encode()),
    ]
