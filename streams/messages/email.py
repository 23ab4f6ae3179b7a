"""The email record: its value and its headers."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from streams.messages.decode import Action, LookupOutcome, Reason, Variant
from streams.messages.trace_context import trace_headers

Headers = list[tuple[str, bytes]]

NAMESPACE = uuid.UUID("3f0c6a52-6c8b-5d7e-9a54-0d6f2a3f7b11")
"""Of every email's id, which is a UUIDv5 (RFC 9562, 5.5) of :func:`source_of` and ``/offset``. It must never
change: mailers tell their own retries by the id."""

EVENT_TYPE = "org.proca.confirmation-email.1"

# The RFC's variant: the two high bits of the 17th digit are 10.
_RFC_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
# One of each letter and reason, since every email has one of these pairs in three places.
_CHOICE = {
    (variant, reason): (b'","variant":"%b","reason":"%b","actionId":' % (variant.encode(), reason.encode()))
    for variant in Variant
    for reason in Reason
}
_VARIANT_HEADER = {variant: ("variant", variant.encode()) for variant in Variant}
_MILLISECONDS = [b"%03dZ" % millisecond for millisecond in range(1000)]


def source_of(topic: str, partition: int, epoch: int = 0) -> str:
    """Return what an offset is counted in: ``topic/partition``, after a new beginning with its epoch.

    A topic's name has no question mark, so that no other partition has the same source.
    """
    return f"{topic}/{partition}?epoch={epoch}" if epoch else f"{topic}/{partition}"


class EmailWriter:
    """Writes the emails of one source partition, each in about two microseconds."""

    def __init__(self, topic: str, partition: int, epoch: int = 0) -> None:
        """Prepare what all emails of this partition have in common.

        Args:
            topic: of the actions.
            partition: of that topic.
            epoch: how often its offsets began anew (:mod:`streams.delivery.epochs`).
        """
        place = source_of(topic, partition, epoch)
        #: What is hashed for an id, before the offset in decimal digits.
        self.id_prefix = NAMESPACE.bytes + f"{place}/".encode()
        self._sha1 = hashlib.sha1(self.id_prefix, usedforsecurity=False)
        self._constant = (
            ("ce_specversion", b"1.0"),
            ("ce_type", EVENT_TYPE.encode()),
            ("ce_source", f"/{place}".encode()),
            ("content-type", b"application/json"),
        )
        self._second = 0
        self._second_as_text = b"1970-01-01T00:00:00."

    def id_of(self, offset: int) -> str:
        """Return the id of the email of the action at ``offset``: the same whenever it is made."""
        sha1 = self._sha1.copy()
        sha1.update(b"%d" % offset)
        text = sha1.hexdigest()
        return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_RFC_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"

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
        """Return an email's value (``schemas/confirmation-email.json``) and headers.

        The headers are a CloudEvent's in binary content mode (CloudEvents' Kafka protocol binding, 3.2), the
        letter's variant, and the trace context that the action came with, if that is text.

        Args:
            offset: of the action's record.
            action: its deciding fields.
            original: its value, which goes into the email byte for byte.
            source_headers: its headers.
            variant: which letter.
            reason: why.
            lookup: what the lookup came to; None where none was asked.
            decided_at: seconds since the epoch.
        """
        email_id = self.id_of(offset).encode()
        moment = self.moment(decided_at)
        value = (
            b'{"schema":"confirmation-email:1","id":"%b%b%d,"orgId":%d,"decidedAt":"%b","lookup":%b,"action":%b}'
            % (
                email_id,
                _CHOICE[variant, reason],
                action.action_id,
                action.org_id,
                moment,
                b"null" if lookup is None else _lookup(lookup),
                original,
            )
        )
        headers = [("ce_id", email_id), *self._constant, ("ce_time", moment), _VARIANT_HEADER[variant]]
        if source_headers:
            headers += trace_headers(source_headers)
        return value, headers

    def moment(self, seconds: float) -> bytes:
        """Return a time in seconds since the epoch as RFC 3339 has it, in UTC and to the millisecond."""
        second, millisecond = divmod(int(seconds * 1000 + 0.5), 1000)
        if second != self._second:
            self._second = second
            self._second_as_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()
        return self._second_as_text + _MILLISECONDS[millisecond]


def without_custom_fields(value: bytes, original: bytes) -> bytes | None:
    """Return an email's value without the lookup's custom fields, and marked; None: it has none.

    Args:
        value: as :meth:`EmailWriter.write` made it.
        original: the action in it.
    """
    rest = b',"action":%b}' % original
    head, found, fields = value.removesuffix(rest).partition(b'"customFields":')
    if not found or fields in (b"{}}", _OMITTED):
        return None
    return b"%b%b%b%b" % (head, found, _OMITTED, rest)


#: The end of an email's ``lookup`` whose custom fields were too large.
_OMITTED = b'{},"customFieldsOmitted":true}'


def _lookup(lookup: LookupOutcome) -> bytes:
    return b'{"outcome":"%b","cause":%b,"customFields":%b}' % (
        lookup.outcome.encode(),
        b"null" if lookup.cause is None else b'"%b"' % lookup.cause.encode(),
        lookup.custom_fields or b"{}",
    )
