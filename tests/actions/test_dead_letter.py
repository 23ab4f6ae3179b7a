"""Dead letters: their headers, and the limit of their share."""

from __future__ import annotations

from typing import Any

import pytest

from streams.actions.dead_letter import (
    LEAST,
    WINDOW,
    DeadLetterLimit,
    DeadLetterOrigin,
    dead_letter_headers,
    read_dead_letter_headers,
    shortened,
    source_headers,
)
from streams.messages.decode import ErrorClass

OWN: list[tuple[str, Any]] = [
    ("a", b"\xff\x00"),
    ("a", None),
    ("__streams.errors.topic", b"elsewhere"),
    ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
]


def headers() -> list[tuple[str, Any]]:
    return dead_letter_headers("actions", 3, 41, OWN, ErrorClass.FIELD_MISSING, "$.contact.email")


def test_own_headers_come_first_and_unchanged() -> None:
    """A record's own headers are kept in order, nulls and repetitions included, and ours follow."""
    before = list(OWN)
    assert headers() == [
        *OWN,
        ("__streams.errors.topic", b"actions"),
        ("__streams.errors.partition", b"3"),
        ("__streams.errors.offset", b"41"),
        ("__streams.errors.exception", b"field_missing"),
        ("errors.json-path", b"$.contact.email"),
    ]
    assert before == OWN, "what is written does not change what was read"


def test_what_was_written_is_read_again() -> None:
    """The last headers of our names count, and the record's own ones are those before them."""
    assert read_dead_letter_headers(headers()) == DeadLetterOrigin(
        "actions", 3, 41, "field_missing", "$.contact.email", shortened=False
    )
    assert source_headers(headers()) == OWN


@pytest.mark.parametrize("number", [b"", b"x", b"-1", "٣".encode(), b"9" * 20, None])
def test_a_place_that_cannot_be_read_is_none(number: bytes | None) -> None:
    """Headers that somebody else wrote, or none, are read without an error."""
    found = read_dead_letter_headers(
        [("__streams.errors.partition", number), ("__streams.errors.offset", number)]
    )
    assert found == DeadLetterOrigin("", None, None, "", "", shortened=False)
    with pytest.raises(ValueError, match="empty"):
        source_headers([])


def test_a_shortened_dead_letter_tells_its_length_and_keeps_its_headers() -> None:
    """A short value stays whole; that it was shortened can be read."""
    value, after = shortened(b"abc", headers())
    assert (value, after) == (b"abc", [*headers(), ("shortened-from", b"3")])
    assert read_dead_letter_headers(after).shortened
    assert source_headers(after) == OWN


def test_a_few_dead_letters_stop_nothing() -> None:
    """Up to the share, and before anything is known of a share, the partition goes on."""
    limit = DeadLetterLimit(0.5)
    for _ in range(LEAST - 1):
        limit.note_dead_letter()
    assert not limit.exceeded


def test_more_than_the_share_stops_it() -> None:
    """One dead letter more than the share of the window allows stops the partition."""
    limit = DeadLetterLimit(0.5)
    for _ in range(WINDOW // 2):
        limit.note_good()
    for _ in range(WINDOW // 2):
        limit.note_dead_letter()
        assert not limit.exceeded
    limit.note_dead_letter()
    assert limit.exceeded


def test_only_the_last_actions_count() -> None:
    """Dead letters of long ago are forgotten."""
    limit = DeadLetterLimit(0.1)
    for _ in range(LEAST - 1):
        limit.note_dead_letter()
    for _ in range(WINDOW):
        limit.note_good()
    limit.note_dead_letter()
    assert not limit.exceeded


@pytest.mark.parametrize(("share", "stops"), [(1.0, False), (0.99, True), (0.0, True)])
def test_a_share_of_one_never_stops(share: float, stops: bool) -> None:
    """With nothing but dead letters every limit stops but one of 1."""
    limit = DeadLetterLimit(share)
    for _ in range(2 * WINDOW):
        limit.note_dead_letter()
    assert limit.exceeded is stops
