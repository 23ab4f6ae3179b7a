"""How an email is written, for the native pass: taken from letters that the path in Python writes.

So the form of an email stands in one place, :mod:`streams.messages.email`, and the decision in another,
:mod:`streams.actions.decision`. A letter is written with marks in it, and cut into pieces at the marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.record.util import encode_varint

from streams.actions.decision import Grounds, decide
from streams.lookup.organisation import CIRCUIT_OPEN
from streams.messages.decode import Action, LookupOutcome
from streams.messages.email import EmailWriter
from streams.native.library import Letter, Piece

# The kinds of pieces, as email_pass.h has them.
_LITERAL, _EMAIL_ID, _ACTION_ID, _ORG_ID, _MOMENT, _ORIGINAL = range(6)
#: Numbers and an action that stand nowhere else in a letter.
_MARKS = Action(8_123_456_789_012_345, 9_123_456_789_012_345, "ref", "email")
_ORIGINAL_MARK = b"\0the action itself\0"
_OFFSET, _DECIDED_AT = 7_123_456_789, 12_345_678.9

#: On what grounds the native pass writes letters, in the order of its table: first the known statuses.
GROUNDS: tuple[Grounds, ...] = ((False, None), (True, None), (None, CIRCUIT_OPEN), (None, None))


def _cause(lookup: LookupOutcome | None) -> str | None:
    return "" if lookup is None else lookup.cause


_NUMBERS = {(subscribed, _cause(lookup)): at for at, (subscribed, lookup) in enumerate(GROUNDS, 1)}


def number_of(grounds: Grounds) -> int:
    """Return the number of the letter in C's table, which begins with 1; 0: it has none on these grounds."""
    subscribed, lookup = grounds
    return _NUMBERS.get((subscribed, _cause(lookup)), 0)


class _Pieces(NamedTuple):
    """Pieces as an array for C."""

    array: Any
    length: int


def encoded_headers(headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Return headers as they go into a record batch.

    Raises:
        UnicodeEncodeError: a name is not text; :mod:`streams.kafka.record_batches` reads such names.
    """
    out = bytearray()
    for name, value in headers:
        raw = name.encode()
        encode_varint(len(raw), out.append)
        out += raw
        encode_varint(-1 if value is None else len(value), out.append)
        out += value or b""
    return bytes(out)


def letters_of(writer: EmailWriter) -> Any:
    """Return an array of :class:`Letter`, one for each of :data:`GROUNDS`, as `writer` writes them."""
    return (Letter * len(GROUNDS))(*(_letter(writer, each) for each in GROUNDS))


def _letter(writer: EmailWriter, grounds: Grounds) -> Letter:
    marks = {
        writer.id_of(_OFFSET).encode(): _EMAIL_ID,
        b"%d" % _MARKS.action_id: _ACTION_ID,
        b"%d" % _MARKS.org_id: _ORG_ID,
        writer.moment(_DECIDED_AT): _MOMENT,
        _ORIGINAL_MARK: _ORIGINAL,
    }
    letter, lookup = decide(*grounds), grounds[1]
    value, headers = writer.write(_OFFSET, _MARKS, _ORIGINAL_MARK, (), *letter, lookup, _DECIDED_AT)
    of_value, of_headers = _cut(value, marks), _cut(encoded_headers(headers), marks)
    return Letter(of_value.array, of_value.length, of_headers.array, of_headers.length, len(headers))


def _cut(text: bytes, marks: Mapping[bytes, int]) -> _Pieces:
    parts = re.split(b"(%b)" % b"|".join(map(re.escape, marks)), text)
    pieces = [Piece(marks.get(part, _LITERAL), part, len(part)) for part in parts if part]
    return _Pieces((Piece * len(pieces))(*pieces), len(pieces))
