"""The supporter status that the table holds, and which of two statuses wins.

A row comes from the CRM (by the ``supporter-status`` topic: no expiry) or from a lookup's answer (with one).
The CRM's row beats an answer; of two CRM rows the older ``asOf`` never overwrites the newer. Everything here
is pure; :mod:`streams.statuses.table` keeps the rows.
"""

from __future__ import annotations

import msgspec

from streams.messages.decode import ErrorClass, Undecodable, decode_supporter_status


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One supporter's status at one organisation; in the changelog a JSON array of these three."""

    subscribed: bool
    as_of: float  # seconds since the epoch: the CRM's asOf, or when the lookup answered
    expires_at: float | None = None  # seconds since the epoch; None: the CRM said so, and it stays


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Row)
#: The end of a row from the CRM.
_STAYS = b",null]"


def encode_row(row: Row) -> bytes:
    """Write a row as it stands in the store and in the changelog."""
    return _encoder.encode(row)


def decode_row(raw: bytes) -> Row:
    """Read what :func:`encode_row` wrote. Raises msgspec.DecodeError on anything else."""
    return _decoder.decode(raw)


def stored_row(raw: bytes | None) -> Row | None:
    """Read a row from the store; None: it is missing.

    One that is damaged, or another program's, is as good as missing: the next row replaces it.
    """
    try:
        return None if raw is None else decode_row(raw)
    except msgspec.DecodeError:
        return None


def has_expired(raw: bytes, now: float) -> bool:
    """Whether a row as it stands in the store says nothing any more at `now` (seconds since the epoch)."""
    if raw.endswith(_STAYS):  # most rows: they need not be decoded
        return False
    row = stored_row(raw)
    return row is not None and subscribed_at(row, now) is None


def row_of(key: bytes | None, value: bytes | None, latest: float) -> Row | None:
    """Read a record of the status topic; None: it forgets its key.

    Args:
        key: of the record.
        value: of the record.
        latest: that its ``asOf`` may be, seconds since the epoch.

    Raises:
        Undecodable: it becomes a dead letter, and the old row stays.
    """
    if value is None:
        if not key:
            raise Undecodable(ErrorClass.FIELD_MISSING, "$key")
        return None
    status = decode_supporter_status(key, value)
    if status.as_of > latest:
        raise Undecodable(ErrorClass.IN_FUTURE, "$.asOf")  # no later row would overwrite it
    return Row(status.subscribed, status.as_of)


def overwrites(new: Row, old: Row | None) -> bool:
    """Whether `new` takes the place of `old`."""
    if old is None:
        return True
    if new.expires_at is None:
        return old.expires_at is not None or new.as_of >= old.as_of
    return old.expires_at is not None


def subscribed_at(row: Row | None, now: float) -> bool | None:
    """What a row says at `now` (seconds since the epoch); None where it is missing or expired."""
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return row.subscribed
