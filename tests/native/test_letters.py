"""Letters in pieces: put together again, they are what the path in Python writes."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from streams.actions.decision import Grounds, decide
from streams.messages.decode import Action, Cause, LookupOutcome, Outcome
from streams.messages.email import EmailWriter
from streams.native.letters import GROUNDS, encoded_headers, letters_of, number_of

ACTION = Action(7, -310, "ref", "a@example.org")
ORIGINAL, MOMENT = b'{"x":"\xc3\xa9"}', 1_790_000_000.5


def put_together(pieces: Any, count: int, by_kind: list[bytes]) -> bytes:
    texts = []
    for piece in pieces[:count]:
        literal = ctypes.string_at(piece.at, piece.length) if piece.kind == 0 else b""
        texts.append(literal or by_kind[piece.kind])
    return b"".join(texts)


@pytest.mark.parametrize("grounds", GROUNDS, ids=lambda each: decide(*each)[1])
@pytest.mark.parametrize("writer", [EmailWriter("actions", 0), EmailWriter("a.b_c-d", 12, 3)])
def test_the_pieces_of_a_letter_make_the_letter(grounds: Grounds, writer: EmailWriter) -> None:
    """Value and headers, for each ground, partition and epoch."""
    letter = letters_of(writer)[number_of(grounds) - 1]
    value, headers = writer.write(9, ACTION, ORIGINAL, (), *decide(*grounds), grounds[1], MOMENT)
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


def test_a_lookup_s_answer_has_no_letter_in_the_table() -> None:
    """Only what is known without asking has one: a status, an open breaker, that there is no lookup."""
    answers = [LookupOutcome(Outcome.EXISTING), LookupOutcome(Outcome.NON_EXISTING)]
    answers += [LookupOutcome(Outcome.ERROR, cause) for cause in Cause if cause is not Cause.CIRCUIT_OPEN]
    assert [number_of((None, answer)) for answer in answers] == [0] * len(answers)
    assert [number_of(grounds) for grounds in GROUNDS] == [1, 2, 3, 4]
