"""Keys and partitions of a sample."""

import zlib
from types import SimpleNamespace
from typing import Any

import pytest

from streams.commands.doctor.findings import Finding, Severity
from streams.commands.doctor.keys import ACTIONS, STATUSES, Content, check_keys, sample
from streams.messages.keys import partition_of
from tests.integration.topics import action, keyed, status

PARTITIONS = 8
NOW = 1_000.0


def java(key: bytes) -> int:
    return partition_of(key, PARTITIONS)


def librdkafka(key: bytes) -> int:
    return zlib.crc32(key) % PARTITIONS


def conclude(
    records: list[tuple[int, bytes | None, bytes]], content: Content = ACTIONS, *, at: float = NOW
) -> list[Finding]:
    seen = sample(
        [
            SimpleNamespace(partition=partition, key=key, value=value, timestamp=int(at * 1000))
            for partition, key, value in records
        ],
        PARTITIONS,
        content,
    )
    return check_keys("topic", seen, PARTITIONS, NOW, content)


RECORDS = [keyed(action(number)) for number in range(40)]


def test_well_keyed_records_are_fine() -> None:
    """Keyed by orgId:contactRef, placed by murmur2."""
    (finding,) = conclude([(java(key), key, value) for key, value in RECORDS])
    assert finding.level is Severity.OK
    assert "40 of 40 readable" in finding.text


def test_an_unreadable_value_is_no_fault_of_its_key() -> None:
    """A dead letter to be is judged by its key alone, and without one it is no record without a key."""
    (finding,) = conclude([(java(b"k"), b"k", b"{"), (3, None, b"{")])
    assert finding.level is Severity.OK
    assert finding.text.endswith("from 2 no orgId and contactRef can be read")


@pytest.mark.parametrize(("content", "level"), [(ACTIONS, Severity.WARNING), (STATUSES, Severity.PROBLEM)])
def test_librdkafka_s_partitioner_is_recognised(content: Content, level: Severity) -> None:
    """CRC32: a detour for an action, but a status that is never found."""
    rows = [status(number, True) for number in range(40)] if content is STATUSES else RECORDS
    (finding,) = conclude([(librdkafka(key), key, value) for key, value in rows], content)
    assert (finding.level, "CRC32" in finding.text) == (level, True)
    assert "murmur2_random" in finding.remedy


def test_neither_partitioner_is_said_with_a_count() -> None:
    """Some in another place: how many."""
    records = [(java(key), key, value) for key, value in RECORDS]
    key, value = RECORDS[0]
    records[0] = ((java(key) + 1) % PARTITIONS, key, value)
    (finding,) = conclude(records)
    assert finding.text.startswith("1 of the newest 40 records")


def test_missing_and_other_keys_are_counted() -> None:
    """Keyed by actionId, or not at all."""
    texts = [
        finding.text
        for finding in conclude(
            [(0, None, RECORDS[0][1]), (java(b"1"), b"1", RECORDS[1][1]), (java(b"2"), b"2", RECORDS[2][1])]
        )
    ]
    assert [text.partition(":")[0] for text in texts] == [
        "1 of the newest 3 records in topic have no key",
        "2 of the newest 3 records in topic are keyed by something else than orgId",
    ]


def test_a_record_from_the_future_shows_a_wrong_clock() -> None:
    """More than a minute ahead."""
    key, value = RECORDS[0]
    (finding,) = conclude([(java(key), key, value)], at=NOW + 600)
    assert "10 min ahead" in finding.text


def test_an_empty_topic_says_nothing() -> None:
    """No sample, no conclusion."""
    (finding,) = conclude([])
    assert finding.level is Severity.NOTE


def test_nothing_of_a_record_is_in_what_is_said() -> None:
    """Neither address nor reference."""
    records: list[Any] = [(0, b"310:ref00000001", value) for _, value in RECORDS]
    text = "".join(finding.text + finding.remedy for finding in conclude(records))
    assert "example.org" not in text
    assert "ref0000" not in text
