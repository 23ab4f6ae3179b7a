"""Dead letters: their headers, and the limit of their share."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from streams.actions.dead_letter import (
    LEAST,
    SHORTENED_TO,
    WINDOW,
    DeadLetterLimit,
    DeadLetterOrigin,
    dead_letter_headers,
    read_dead_letter_headers,
    reduced,
    source_headers,
    with_key,
)
from streams.delivery.transaction import Outgoing
from streams.messages.decode import ErrorClass
from streams.messages.unreadable import UnreadableRecords
from streams.settings.table import describe

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


@pytest.mark.parametrize("mark", ["shortened-from", "key-left-out-bytes", "headers-left-out-bytes"])
def test_a_mark_that_the_record_came_with_says_nothing_about_its_dead_letter(mark: str) -> None:
    """Only the headers behind the record's own say that a part of it is missing."""
    own = [*headers(), (mark, b"7")]
    written = dead_letter_headers("actions", 3, 41, own, ErrorClass.NOT_JSON, "$")
    assert read_dead_letter_headers(written) == DeadLetterOrigin(
        "actions", 3, 41, "not_json", "$", shortened=False
    )


LARGE = b"0" * (3 * SHORTENED_TO)


def sha256(part: bytes) -> bytes:
    return hashlib.sha256(part).hexdigest().encode()


def letter(
    key: bytes | None = b"310:ref", value: bytes | None = b"{", own: list[tuple[str, Any]] | None = None
) -> Outgoing:
    own = OWN if own is None else own
    written = dead_letter_headers("actions", 3, 41, own, ErrorClass.FIELD_MISSING, "$.contact.email")
    return Outgoing("dlq", key, value, written)


def test_a_large_value_is_cut_and_its_length_and_sha_256_are_kept() -> None:
    """The record's key and headers stay, and that a part is missing can be read."""
    less = reduced(letter(value=LARGE))
    assert less is not None
    assert (less.key, less.value) == (b"310:ref", LARGE[:SHORTENED_TO])
    assert less.headers == [
        *headers(),
        ("shortened-from", b"%d" % len(LARGE)),
        ("shortened-from-sha256", sha256(LARGE)),
    ]
    assert read_dead_letter_headers(less.headers).shortened
    assert source_headers(less.headers) == OWN


def test_large_headers_are_left_out_first() -> None:
    """Key and value stay as long as leaving out the record's headers may be enough."""
    own: list[tuple[str, Any]] = [("traceparent", LARGE), ("n\udce4me", None)]
    less = reduced(letter(own=own))
    assert less is not None
    assert (less.key, less.value) == (b"310:ref", b"{")
    packed = b"traceparent" + LARGE + b"n\xe4me"
    assert less.headers == [
        *headers()[len(OWN) :],
        ("headers-left-out-bytes", b"%d" % len(packed)),
        ("headers-left-out-sha256", sha256(packed)),
    ]


def test_a_large_key_gives_way_to_the_record_s_place() -> None:
    """The new key is topic, partition and offset, so that no other dead letter has it."""
    less = reduced(letter(key=LARGE))
    assert less is not None
    assert (less.key, less.value) == (b"actions/3/41", b"{")
    assert less.headers[-2:] == [
        ("key-left-out-bytes", b"%d" % len(LARGE)),
        ("key-left-out-sha256", sha256(LARGE)),
    ]


@pytest.mark.parametrize("key", [None, b"", b"310:ref", LARGE])
@pytest.mark.parametrize("value", [None, b"", b"{", LARGE])
@pytest.mark.parametrize("own", [[], OWN, [("", None)] * 3_000, [("big", LARGE)]])
def test_a_dead_letter_shrinks_at_each_step_down_to_a_bare_notice(
    key: bytes | None, value: bytes | None, own: list[tuple[str, Any]]
) -> None:
    """Whatever is in it, each step changes it, and the last one says topic, partition, offset and class."""
    steps = [letter(key, value, own)]
    while (less := reduced(steps[-1])) is not None:
        assert less != steps[-1]
        steps.append(less)
        assert len(steps) < 10
    assert not steps[-1].value
    assert (steps[-1].key or b"actions/3/41") == b"actions/3/41"
    assert read_dead_letter_headers(steps[-1].headers)[:4] == ("actions", 3, 41, "field_missing")
    assert source_headers(steps[-1].headers) == []
    assert sum(len(name) + len(text or b"") for name, text in steps[-1].headers) < 400


def test_a_dead_letter_without_a_key_gets_one_for_a_compacted_topic() -> None:
    """The key is the record's place, and a header says that the record had none; others stay as they are."""
    given = with_key(letter(key=None, value=None))
    assert (given.key, given.value) == (b"actions/3/41", b"")
    assert given.headers == [*headers(), ("key-left-out-bytes", b"null")]
    assert read_dead_letter_headers(given.headers).shortened
    keyed = letter()
    assert with_key(keyed) is keyed


def bad(limit: DeadLetterLimit, offset: int = 0, error_class: ErrorClass = ErrorClass.NOT_JSON) -> None:
    limit.note_dead_letter(offset, error_class)


def test_a_few_dead_letters_stop_nothing() -> None:
    """Up to the share, and before anything is known of a share, the partition goes on."""
    limit = DeadLetterLimit(0.5)
    for _ in range(LEAST - 1):
        bad(limit)
    assert limit.why is None


def test_more_than_the_share_stops_it() -> None:
    """One dead letter more than the share of the window allows stops the partition."""
    limit = DeadLetterLimit(0.5)
    for _ in range(WINDOW // 2):
        limit.note_good()
    for _ in range(WINDOW // 2):
        bad(limit)
        assert limit.why is None
    bad(limit)
    assert limit.why is not None


def test_only_the_last_actions_count() -> None:
    """Dead letters of long ago are forgotten."""
    limit = DeadLetterLimit(0.1)
    for _ in range(LEAST - 1):
        bad(limit)
    for _ in range(WINDOW):
        limit.note_good()
    bad(limit)
    assert limit.why is None


@pytest.mark.parametrize(("share", "stops"), [(1.0, False), (0.99, True), (0.0, True)])
def test_a_share_of_one_never_stops(share: float, stops: bool) -> None:
    """With nothing but dead letters every limit stops but one of 1."""
    limit = DeadLetterLimit(share)
    for _ in range(2 * WINDOW):
        bad(limit)
    assert (limit.why is not None) is stops


def test_the_reason_names_setting_classes_and_first_place() -> None:
    """It can be acted on as it stands: what is wrong, where to look first, and what lets the rest pass."""
    limit = DeadLetterLimit(0.5, "actions", 3)
    for offset in range(1_200, 1_200 + LEAST):
        bad(limit, offset, ErrorClass.FIELD_MISSING if offset % 10 else ErrorClass.NOT_JSON)
    assert limit.why == (
        "100 of the last 100 actions of actions/3 are dead letters (90 field_missing, 10 not_json; the first"
        " at offset 1,200), and STREAMS_DEAD_LETTER_CEILING allows a share of 0.5. Mend what writes or reads"
        " them; `streams dead-letters accept actions 3 latest` lets those pass that are there"
    )


def test_the_setting_that_the_reason_names_exists() -> None:
    """It is spelled as the environment has it."""
    limit = DeadLetterLimit(0.0)
    for offset in range(LEAST):
        bad(limit, offset)
    assert limit.why is not None
    named = re.findall(r"STREAMS_\w+", limit.why)
    assert named
    assert set(named) <= {row.name for row in describe()}


def test_what_a_person_accepts_is_not_counted_and_what_comes_after_is() -> None:
    """The partition goes on up to that offset, and behind it the limit holds as before."""
    limit = DeadLetterLimit(0.5, "actions", 3)
    for offset in range(LEAST):
        bad(limit, offset)
    assert limit.why is not None
    limit.accept(400)
    assert limit.why is None
    for offset in range(LEAST, 400):
        bad(limit, offset)
    assert limit.why is None
    for offset in range(400, 400 + LEAST - 1):
        bad(limit, offset)
        assert limit.why is None
    bad(limit, 400 + LEAST)
    assert limit.why is not None
    assert "the first at offset 400)" in limit.why


def test_what_was_accepted_long_ago_lets_nothing_pass() -> None:
    """A partition that stopped behind the accepted offset stays stopped, with the same reason."""
    limit = DeadLetterLimit(0.5, "actions", 3)
    for offset in range(5_000, 5_000 + LEAST):
        bad(limit, offset)
    why = limit.why
    limit.accept(5_000)
    assert why is not None
    assert limit.why == why


def test_a_partition_stops_before_records_that_nobody_can_read_until_they_are_accepted() -> None:
    """The reason has their place and the command; a decision about what lies before them changes nothing."""
    limit = DeadLetterLimit(1.0, "actions", 3)
    records = UnreadableRecords(1_200, 1_204, "its checksum (CRC-32C) is wrong")
    assert not limit.lets_pass(records)
    assert limit.why is not None
    assert limit.why.startswith(
        "the records at offsets 1,200 to 1,204 of actions/3 cannot be read: its checksum"
    )
    assert "`streams dead-letters accept actions 3 1205`" in limit.why
    limit.accept(1_204)
    assert limit.why is not None
    limit.accept(1_205)
    assert limit.why is None
    assert limit.lets_pass(records)
    assert not limit.lets_pass(UnreadableRecords(1_205, 1_205, "its header is wrong"))
