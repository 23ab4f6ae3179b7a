"""One log through the path in Python, and through the native pass with that path for what is not usual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher

from streams.actions.outcomes import Emailed
from streams.actions.processor import ActionProcessor
from streams.delivery.results import Result
from streams.kafka.record_batches import batches_from, read_any_batch
from streams.native.email_batch import EmailBatch
from streams.native.email_pass import Stop
from tests.fuzz.wire import read
from tests.native.built import (
    BATCH_ROOM,
    NOW_MS,
    PARTITION,
    TOPIC,
    KnownStatuses,
    counted,
    library,
    native_pass,
    processor,
)

_REASON = "errors.reason"
Aborted = Sequence[tuple[int, int]]
#: Of a written record: key, value, headers and timestamp.
Written = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]], int]


@dataclass
class Judged:
    """What became of a log."""

    emails: list[Written] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)  # dead letters, in their order
    outcomes: Counter[Any] = field(default_factory=Counter)
    timestamps: Counter[int] = field(default_factory=Counter)  # of the actions that got an email
    next_offset: int = 0


@dataclass
class NativelyJudged(Judged):
    """The same, and which path the records took."""

    natively: int = 0
    whys: Counter[str] = field(default_factory=Counter)


def unpacked(log: bytes, aborted: Aborted, next_offset: int = 0, begin: int = 0) -> Any:
    """Return the records of a log, from byte `begin` on, as the worker's consumer unpacks them."""
    read_any_batch()
    place = TopicPartition(TOPIC, PARTITION)
    batches = batches_from(log, begin)
    records = fetcher.PartitionRecords(
        place, batches, [*aborted], next_offset, None, None, True, fetcher.READ_COMMITTED
    )
    records._consumer_record = lambda _, record: record
    return records


def by_python(log: bytes, statuses: KnownStatuses, aborted: Aborted = (), next_offset: int = 0) -> Judged:
    """Return what the path in Python makes of a log."""
    judged, judge = Judged(), processor(statuses)
    _judge_all(unpacked(log, aborted, next_offset), judge, judged, judged.emails)
    return judged


def natively(
    log: bytes,
    statuses: KnownStatuses,
    aborted: Aborted = (),
    *,
    next_offset: int = 0,
    of_library: Any = None,
    room: int = BATCH_ROOM,
    most_emails: int = 1 << 31,
    most_records: int = 1 << 10,
) -> NativelyJudged:
    """Return what both paths together make of a log."""
    made = of_library or library()
    judged, judge = NativelyJudged(), processor(statuses)
    batch = EmailBatch(made, room)
    run = native_pass(
        log,
        statuses,
        of_library=made,
        batch=batch,
        next_offset=next_offset,
        aborted=aborted,
        most_emails=most_emails,
        most_records=most_records,
    )
    while (stop := run.go_on()) not in (Stop.END, Stop.BATCH):
        if stop is Stop.NO_ROOM:
            _count(run, judged)
            _take_away(batch, judged)
            continue
        judged.whys[run.why.name] += 1
        record = run.unusual()
        result = _result(judge, record)
        _note(judged, record, result)
        written = result.outgoing
        if written is not None and written.topic == "emails":
            if not batch.append(written.key, written.value, written.headers, NOW_MS):
                _take_away(batch, judged)
                if not batch.append(written.key, written.value, written.headers, NOW_MS):
                    judged.emails.append((written.key, written.value, [*written.headers], NOW_MS))
        elif written is not None:
            judged.others.append(written)
    _count(run, judged)
    _take_away(batch, judged)
    judged.next_offset = run.next_offset
    if stop is Stop.BATCH:
        judged.whys["BATCH"] += 1
        begin, open_ones = run.left()
        _judge_all(unpacked(log, open_ones, run.next_offset, begin), judge, judged, judged.emails)
    return judged


def _judge_all(records: Any, judge: ActionProcessor, judged: Judged, emails: list[Written]) -> None:
    while True:
        try:
            record = next(records)
        except StopIteration:
            break
        except Exception as exc:  # a damaged marker of a transaction: whoever reads it last fails on it
            judged.outcomes[type(exc)] += 1
            break
        result = _result(judge, record)
        _note(judged, record, result)
        if (written := result.outgoing) is None:
            continue
        if written.topic == "emails":
            emails.append((written.key, written.value, [*written.headers], NOW_MS))
        else:
            judged.others.append(written)
    judged.next_offset = records.next_fetch_offset


def _result(judge: ActionProcessor, record: Any) -> Result:
    result = judge.process(record)
    assert isinstance(result, Result), "nothing waits for a lookup"
    return result


def _note(judged: Judged, record: Any, result: Result) -> None:
    judged.outcomes[result.outcome] += 1
    if isinstance(result.outcome, Emailed):
        judged.timestamps[record.timestamp] += 1


def _count(run: Any, judged: NativelyJudged) -> None:
    outcomes, timestamps = counted(run)
    judged.outcomes += outcomes
    judged.natively += outcomes.total()
    judged.timestamps += timestamps


def _take_away(batch: EmailBatch, judged: Judged) -> None:
    if batch.count:
        sealed = bytes(batch.sealed(7, 0, 0))
        for record in read(sealed):
            judged.emails.append((record.key, record.value, [*record.headers], record.timestamp))
        batch.clear()


def differences(log: bytes, statuses: KnownStatuses, aborted: Aborted = (), **more: Any) -> list[str]:
    """Return in which respects the two paths differ on a log."""
    next_offset = more.get("next_offset", 0)
    expected = by_python(log, statuses, aborted, next_offset)
    found = natively(log, statuses, aborted, **more)
    # Why a batch cannot be read may be said otherwise: of damage in two parts, another one is met first.
    for each in (expected, found):
        each.others = [
            other._replace(headers=[h for h in other.headers if h[0] != _REASON]) for other in each.others
        ]
    names = ("emails", "others", "outcomes", "timestamps", "next_offset")
    return [name for name in names if getattr(expected, name) != getattr(found, name)]
