"""Keys and partitions of a sample of records: do actions and statuses meet? And what do their stamps say?"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from streams.commands.doctor.findings import Finding, note, ok, problem, seconds, warning
from streams.commands.keyed_lines import Message, Unsendable, action_message, status_message
from streams.messages.keys import partition_of

CHECK = "keys"
#: Records from the end of each partition.
SAMPLE = 50
_CLOCK_AHEAD = 60.0  # seconds that a record's timestamp may be ahead of this machine's clock
_JAVA = "use the murmur2 partitioner (in librdkafka: partitioner=murmur2_random)"


@dataclass(frozen=True, slots=True)
class Content:
    """What a topic holds, and what it means when its records lie in the wrong partition."""

    message: Callable[[bytes], Message]  # of a record's value: the key that it should have
    misplaced: Callable[[str, str, str], Finding]
    harm: str


ACTIONS = Content(
    action_message, warning, "the worker moves such actions to their place, which costs a detour"
)
STATUSES = Content(status_message, problem, "such a status is not found, and its supporter gets two buttons")


@dataclass(slots=True)
class Sample:
    """What was seen of one topic's newest records."""

    records: int = 0
    without_key: int = 0  # of the readable ones
    unreadable: int = 0
    readable: int = 0  # orgId and contactRef can be read from the value
    right_key: int = 0  # of these, with that key
    keyed: int = 0
    by_murmur2: int = 0  # of the keyed ones
    by_crc32: int = 0
    meets: int = 0  # of the readable ones, lie where orgId:contactRef belongs
    newest: int = 0  # milliseconds since the epoch


def sample(records: Iterable[Any], partitions: int, content: Content) -> Sample:
    """Look at a topic's records; nothing of what they hold is kept."""
    seen = Sample()
    for record in records:
        key = record.key
        seen.records += 1
        seen.newest = max(seen.newest, record.timestamp)
        if key:
            seen.keyed += 1
            seen.by_murmur2 += partition_of(key, partitions) == record.partition
            seen.by_crc32 += zlib.crc32(key) % partitions == record.partition
        expected = _expected(record.value, content)
        if expected is None:
            seen.unreadable += record.value is not None
        else:
            seen.without_key += not key
            seen.readable += 1
            seen.right_key += key == expected
            seen.meets += partition_of(expected, partitions) == record.partition
    return seen


def _expected(value: bytes | None, content: Content) -> bytes | None:
    if value is None:
        return None
    try:
        return content.message(value).key
    except Unsendable:
        return None


def check_keys(topic: str, seen: Sample, partitions: int, now: float, content: Content) -> list[Finding]:
    """Conclude from a sample of a topic with so many partitions; `now` in seconds since the epoch."""
    if not seen.records:
        return [note(CHECK, f"{topic} is empty: nothing can be said of keys and partitions yet")]
    if faults := list(_faults(topic, seen, partitions, now, content)):
        return faults
    text = f"{topic}: {seen.records:,} sampled, keyed and placed as they should be"
    if seen.readable:
        text += f", {seen.meets:,} of {seen.readable:,} readable ones in their partition"
    if seen.unreadable:
        text += f"; from {seen.unreadable:,} no orgId and contactRef can be read"
    return [ok(CHECK, text)]


def _faults(topic: str, seen: Sample, partitions: int, now: float, content: Content) -> Iterator[Finding]:
    of = f"of the newest {seen.records:,} records in {topic}"
    bad, harm = content.misplaced, content.harm
    remedy = "key by orgId:contactRef, as in 310:q2…"
    if seen.without_key:
        yield bad(CHECK, f"{seen.without_key:,} {of} have no key: {harm}", remedy)
    wrong = seen.readable - seen.right_key - seen.without_key
    if wrong > 0:
        yield bad(CHECK, f"{wrong:,} {of} are keyed by something else than orgId:contactRef: {harm}", remedy)
    if partitions > 1 and seen.by_murmur2 < seen.keyed:
        misplaced = seen.keyed - seen.by_murmur2
        where = f"{misplaced:,} {of} do not lie where murmur2 of their key puts them"
        if seen.by_crc32 == seen.keyed:
            where = f"all {of} lie where CRC32 of the key puts them, librdkafka's default"
        yield bad(CHECK, f"{where}: {harm}", _JAVA)
    if seen.newest / 1000 > now + _CLOCK_AHEAD:
        yield warning(
            CHECK,
            f"{topic} has a record stamped {seconds(seen.newest / 1000 - now)} ahead of our clock",
            "synchronise the clocks of producers, brokers and this machine (NTP)",
        )
