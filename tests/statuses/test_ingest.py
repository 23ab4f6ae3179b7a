"""Status records on their way into the table."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from streams.actions.dead_letter import SHORTENED_TO
from streams.delivery.transaction import Outgoing, RecordRefused, RecordTooLarge
from streams.kafka.chunks import Chunk
from streams.messages.unreadable import UnreadableRecords
from streams.observability.metric_catalogue import DEAD_LETTERS, STATUSES
from streams.observability.metrics import Metrics
from streams.statuses.ingest import StatusIngest
from streams.statuses.table import StatusTable
from tests.statuses.fake_changelog import CHANGELOG, FakeChangelog, faust_table

CANARY = "canary-7f3a"
NOW = 1_796_000_000.0  # seconds since the epoch, in November 2026


@dataclass(frozen=True)
class FakeRecord:
    """A consumed record of the status topic."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = int(NOW * 1000)


class Bench:
    """A learning with a real table in memory."""

    def __init__(self) -> None:
        self.changelog = FakeChangelog()
        self.letters_trouble: list[Exception] = []
        self.metrics = Metrics("actions")
        self.generation = 7
        table = faust_table("memory", Path())
        self.table = StatusTable(table, lambda: self.changelog.send_many)
        self.statuses = StatusIngest(
            self.table, self.metrics, self._write, "dlq", lambda: self.generation, lambda: NOW
        )
        self.written: list[Outgoing] = []
        self.room: int | None = None  # bytes of a dead letter's parts that its topic takes; None: any
        self.needs_keys = False

    async def _write(self, letters: Sequence[Outgoing]) -> None:
        if self.letters_trouble:
            raise self.letters_trouble.pop(0)
        for index, letter in enumerate(letters):
            assert (letter.topic, letter.partition) == ("dlq", 2)
            if self.room is not None and size(letter) > self.room:
                raise RecordTooLarge(index, self.room, size(letter))
            if self.needs_keys and letter.key is None:
                raise RecordRefused(index)
        self.written += letters

    @property
    def letters(self) -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
        return [(letter.key, letter.value, letter.headers) for letter in self.written]

    def counted(self) -> dict[str, int]:
        results = ("applied", "outdated", "dead_letter")
        return {result: self.metrics.total(STATUSES, result=result) for result in results}

    def says(self, key: bytes) -> bool | None:
        return self.table.subscribed(2, key, 0.0)


def size(letter: Outgoing) -> int:
    parts = [letter.key, letter.value, *(text for _, text in letter.headers)]
    return sum(len(part or b"") for part in parts)


pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def row(ref: str, subscribed: object, as_of: str = "2026-11-24T10:00:00Z") -> tuple[bytes, bytes]:
    document = {"orgId": 310, "contactRef": ref, "subscribed": subscribed, "asOf": as_of}
    return b"310:" + ref.encode(), orjson.dumps(document)


def chunk(*rows: tuple[bytes | None, bytes | None], generation: int = 7) -> Chunk:
    return Chunk(
        TP("statuses", 2), [FakeRecord(offset, *each) for offset, each in enumerate(rows, 10)], generation
    )


async def test_a_chunk_is_applied_in_its_order_counted_and_settled(bench: Bench) -> None:
    """Rows, an older one, and a tombstone: the table has what should stay, and the chunk is settled."""
    given = chunk(row("a", True), row("b", False), row("a", False, "2026-11-23T10:00:00Z"), (b"310:b", None))
    await bench.statuses.ingest(given)
    assert (bench.says(b"310:a"), bench.says(b"310:b")) == (True, None)
    assert given.settled
    assert bench.counted() == {"applied": 3, "outdated": 1, "dead_letter": 0}
    assert [topic for topic, _, _ in bench.changelog.sent] == [CHANGELOG]


async def test_the_same_chunk_again_changes_nothing(bench: Bench) -> None:
    """Reading a chunk a second time, after a crash between changelog and commit, leaves the same table."""
    rows = [row("a", True), (b"310:b", None), row("a", False, "2026-11-25T10:00:00Z")]
    await bench.statuses.ingest(chunk(*rows))
    await bench.statuses.ingest(chunk(*rows))
    assert bench.says(b"310:a") is False


async def test_what_cannot_be_read_is_kept_and_the_old_row_stays(bench: Bench) -> None:
    """Bad rows become dead letters with place and reason; their neighbours are applied."""
    await bench.statuses.ingest(chunk(row("a", True)))
    bad: list[tuple[bytes | None, bytes | None]] = [
        row("a", "false"),
        (b"310:b", row("a", False)[1]),
        (None, row("a", False)[1]),
        (None, None),
        (b"310:a", b"null"),
    ]
    await bench.statuses.ingest(chunk(*bad, row("c", False)))
    assert (bench.says(b"310:a"), bench.says(b"310:c")) == (True, False)
    assert [(key, value) for key, value, _ in bench.letters] == bad
    headers = [dict(headers) for _, _, headers in bench.letters]
    assert [each["__streams.errors.exception"] for each in headers] == [
        b"field_type",
        b"key_mismatch",
        b"field_missing",
        b"field_missing",
        b"not_an_object",
    ]
    assert [each["__streams.errors.offset"] for each in headers] == [b"10", b"11", b"12", b"13", b"14"]
    assert headers[0]["__streams.errors.topic"] == b"statuses"
    assert headers[0]["__streams.errors.partition"] == b"2"
    assert bench.counted() == {"applied": 2, "outdated": 0, "dead_letter": 5}
    assert bench.metrics.total(DEAD_LETTERS, topic="statuses") == 5
    assert bench.metrics.total(DEAD_LETTERS, topic="actions") == 0


async def test_a_chunk_is_tried_until_kafka_takes_it(bench: Bench) -> None:
    """Failing changelog: nothing is settled or counted until it works, and dead letters are sent once."""
    bench.changelog.trouble = []
    given = chunk((b"310:a", b"{"), row("b", True))
    real_apply, calls = bench.table.apply, []

    async def apply(*args: Any) -> int:
        calls.append(given.settled)
        if len(calls) <= 3:
            raise KafkaConnectionError
        return await real_apply(*args)

    bench.table.apply = apply  # type: ignore[method-assign]  # so that only the table's own write fails
    await bench.statuses.ingest(given)
    assert calls == [False] * 4
    assert given.settled
    assert len(bench.letters) == 1
    assert bench.counted() == {"applied": 1, "outdated": 0, "dead_letter": 1}
    assert bench.metrics.total(DEAD_LETTERS, topic="statuses") == 1


async def test_rows_wait_for_their_dead_letters(bench: Bench) -> None:
    """While the dead letters' topic takes nothing, nothing is settled: no record is lost between the two."""
    bench.letters_trouble = [KafkaConnectionError(), KafkaConnectionError()]
    given = chunk((b"310:a", b"{"), row("b", True))
    learning = asyncio.create_task(bench.statuses.ingest(given))
    await asyncio.sleep(StatusIngest.RETRY_EVERY / 2)
    assert not given.settled
    assert bench.changelog.sent == []
    await learning
    assert given.settled
    assert len(bench.letters) == 1


async def test_a_dead_letter_without_room_is_shortened_and_stops_nothing(bench: Bench) -> None:
    """A row too large for the dead letters' topic is cut and says so; the statuses behind it are learned."""
    bench.room = SHORTENED_TO + 1_000
    large = b"{" * (3 * SHORTENED_TO)
    given = chunk((b"310:a", large), (None, None), (b"310:b", b"["), (large, b'{"orgId":1}'), row("c", True))
    await bench.statuses.ingest(given)
    assert given.settled
    assert [value for _, value, _ in bench.letters] == [large[:SHORTENED_TO], None, b"[", b'{"orgId":1}']
    assert [key for key, _, _ in bench.letters] == [b"310:a", None, b"310:b", b"statuses/2/13"]
    lengths = [dict(headers).get("shortened-from") for _, _, headers in bench.letters]
    assert lengths == [b"%d" % len(large), None, None, None]
    assert bench.says(b"310:c") is True


async def test_a_dead_letter_without_a_key_gets_one_where_its_topic_wants_keys(bench: Bench) -> None:
    """Only those without one change."""
    bench.needs_keys = True
    given = chunk((b"310:a", b"{"), (None, b"{"), (None, None))
    await bench.statuses.ingest(given)
    assert given.settled
    assert [(key, value) for key, value, _ in bench.letters] == [
        (b"310:a", b"{"),
        (b"statuses/2/11", b"{"),
        (b"statuses/2/12", b""),
    ]


async def test_a_topic_without_room_for_a_bare_notice_is_waited_for(bench: Bench) -> None:
    """That is the topic's fault: nothing is settled before it has room again."""
    bench.room = 10
    given = chunk((b"310:a", b"{"))
    learning = asyncio.create_task(bench.statuses.ingest(given))
    await asyncio.sleep(StatusIngest.RETRY_EVERY * 2.5)
    assert not given.settled
    bench.room = None
    await learning
    assert given.settled
    assert len(bench.letters) == 1


@pytest.mark.parametrize(
    ("as_of", "stamped", "taken"),
    [(23, 0, True), (25, 0, False), (40, 17, True), (42, 17, False), (25, -48, False)],
)
async def test_a_row_from_the_future_is_refused(
    bench: Bench, as_of: float, stamped: float, taken: bool
) -> None:
    """More than a day ahead of the clock, and of the record's timestamp, it would hide every later row."""
    await bench.statuses.ingest(chunk(row("a", False)))
    moment = datetime.fromtimestamp(NOW + as_of * 3600, UTC).isoformat()
    given = chunk(row("a", True, moment))
    given.records[0] = dataclasses.replace(given.records[0], timestamp=int((NOW + stamped * 3600) * 1000))
    await bench.statuses.ingest(given)
    assert bench.says(b"310:a") is taken
    classes = [dict(headers)["__streams.errors.exception"] for _, _, headers in bench.letters]
    assert classes == ([] if taken else [b"in_future"])


async def test_a_chunk_of_an_earlier_generation_is_dropped(bench: Bench) -> None:
    """After a rebalance the chunk is somebody else's: it is neither applied nor settled."""
    given = chunk(row("a", True), generation=6)
    await bench.statuses.ingest(given)
    assert not given.settled
    assert bench.changelog.sent == []


async def test_a_rebalance_ends_the_trying(bench: Bench) -> None:
    """A chunk that Kafka does not take is let go when the group has a new generation."""
    bench.changelog.trouble = [KafkaConnectionError() for _ in range(100)]
    given = chunk(row("a", True))
    learning = asyncio.create_task(bench.statuses.ingest(given))
    await asyncio.sleep(StatusIngest.RETRY_EVERY * 2.5)
    assert not learning.done()
    bench.generation = 8
    await asyncio.wait_for(learning, StatusIngest.RETRY_EVERY * 2)
    assert not given.settled
    assert bench.counted() == {"applied": 0, "outdated": 0, "dead_letter": 0}


async def test_a_bug_is_not_swallowed(bench: Bench) -> None:
    """Anything but Kafka's failure ends the agent, which /livez then reports; nothing is settled."""
    bench.changelog.trouble = [ZeroDivisionError()]
    given = chunk(row("a", True))
    with pytest.raises(ZeroDivisionError):
        await bench.statuses.ingest(given)
    assert not given.settled


async def test_nothing_personal_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Bad rows and failures leave no key, value or exception text in the log."""
    caplog.set_level(logging.DEBUG)
    bench.letters_trouble = [KafkaConnectionError(CANARY), RecordRefused(0, CANARY)]
    await bench.statuses.ingest(chunk((CANARY.encode(), CANARY.encode()), row(CANARY, True)))
    assert "KafkaConnectionError" in caplog.text
    assert CANARY not in "".join(logging.Formatter().format(each) for each in caplog.records)


async def test_rows_that_nobody_can_read_are_one_dead_letter_and_reading_goes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows around them are applied; the log says where they were, and asks for them again."""
    records = [FakeRecord(10, *row("a", True)), UnreadableRecords(11, 14, "its header is wrong")]
    given = Chunk(TP("statuses", 2), [*records, FakeRecord(15, *row("b", False))], 7)
    await bench.statuses.ingest(given)
    assert given.settled
    assert (bench.says(b"310:a"), bench.says(b"310:b")) == (True, False)
    assert bench.counted() == {"applied": 2, "outdated": 0, "dead_letter": 1}
    assert bench.metrics.total(DEAD_LETTERS, error_class="unreadable") == 1
    ((key, value, headers),) = bench.letters
    assert (key, value) == (None, None)
    assert dict(headers)["__streams.errors.offset"] == b"11"
    assert dict(headers)["errors.last-offset"] == b"14"
    (line,) = [each for each in caplog.records if getattr(each, "event", "") == "unreadable_batch"]
    assert "the records at offsets 11 to 14 of statuses/2 cannot be read: its header is" in line.getMessage()
    assert "written again" in line.getMessage()
