"""Letters in pieces: put together again, they are what the path in Python writes."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from streams.actions.decision import decide
from streams.messages.decode import Action
from streams.messages.email import EmailWriter
from streams.native.letters import KNOWN, encoded_headers, letters_of

ACTION = Action(7, -310, "ref", "a@example.org")
ORIGINAL, MOMENT = b'{"x":"\xc3\xa9"}', 1_790_000_000.5


def put_together(pieces: Any, count: int, by_kind: list[bytes]) -> bytes:
    texts = []
    for piece in pieces[:count]:
        literal = ctypes.string_at(piece.at, piece.length) if piece.kind == 0 else b""
        texts.append(literal or by_kind[piece.kind])
    return b"".join(texts)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("writer", [EmailWriter("actions", 0), EmailWriter("a.b_c-d", 12, 3)])
def test_the_pieces_of_a_letter_make_the_letter(known: bool, writer: EmailWriter) -> None:
    """Value and headers, for each status, partition and epoch."""
    letter = letters_of(writer)[known]
    value, headers = writer.write(9, ACTION, ORIGINAL, (), *decide(known, None), None, MOMENT)
    by_kind = [
        b"",
        writer.id_of(9).encode(),
        b"%d" % ACTION.action_id,
        b"%d" % ACTION.org_id,
        writer.moment(MOMENT),
        ORIGINAL,
    ]
    assert put_together(letter.value, letter.value_pieces, by_kind) == value
    assert put_together(letter.headers, letter.header_pieces, by_kind) == encoded_headers(headers)
    assert letter.header_count == len(headers)


def test_the_letters_are_those_of_the_decision_table() -> None:
    """The first is for somebody who is not subscribed, the second for a subscriber."""
    assert (decide(False, None), decide(True, None)) == KNOWN
