"""The library that the tests of the native pass use, and partitions to pass over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from streams.actions.dead_letter import DeadLetterLimit
from streams.actions.processor import ActionProcessor
from streams.kafka.compressed_batches import inflated_records
from streams.messages.decode import Cause, LookupOutcome, Outcome, Undecodable, decode_action, status_key
from streams.messages.email import EmailWriter
from streams.native.build import build, library_path
from streams.native.email_batch import EmailBatch
from streams.native.email_pass import NativePartition, NativePass, WithoutAsking
from streams.native.library import load
from streams.native.status_index import PartitionStatuses, StatusIndex

#: Where a library is built for tests, if this environment has none.
FOLDER = Path(__file__).parents[2] / ".cache" / "native"
TOPIC, PARTITION = "actions", 3
NOW, NOW_MS = 1_790_000_000.123, 1_790_000_000_123
BATCH_ROOM = 900_000


@cache
def library() -> Any:
    """Return the library of this checkout's sources."""
    installed = library_path()
    return load(installed if installed.exists() else build(FOLDER))


_CIRCUIT_OPEN = LookupOutcome(Outcome.ERROR, Cause.CIRCUIT_OPEN)


class NoLookups:
    """Answers at once: odd organisations have no lookup, and the breaker of all others is open."""

    def __init__(self, probed: Callable[[int], bool] = lambda org_id: org_id % 5 == 0) -> None:
        """Let those organisations be due for a probe for which `probed` is true."""
        self._probed = probed

    def ask(self, question: Any) -> LookupOutcome | None:
        return None if question.org_id % 2 else _CIRCUIT_OPEN

    def unasked(self, org_id: int) -> LookupOutcome | Literal["ask"] | None:
        """Return what is known without asking."""
        return "ask" if self._probed(org_id) else None if org_id % 2 else _CIRCUIT_OPEN

    def is_fast(self, _: int) -> bool:
        return False


class KnownStatuses:
    """Statuses of one partition, for both paths; the table has each of them, and the index those that fit."""

    def __init__(self, of_library: Any = None, index_bytes: int = 1 << 20) -> None:
        self.rows: dict[bytes, bool] = {}
        self.index = StatusIndex(of_library or library(), index_bytes)
        self.native = PartitionStatuses(self.index)
        self.away = False
        self.lookups = NoLookups()  # of whom is missing

    def put(self, key: bytes, subscribed: bool) -> None:
        self.rows[key] = subscribed
        self.native.put({key: (subscribed, None)})

    def known(self) -> PartitionStatuses | None:
        """Return what the native pass may know now."""
        return None if self.away else self.native

    def know(self, values: Iterable[bytes | None], subscribed: Callable[[bytes], bool | None]) -> None:
        """Put the status of whoever acts in `values`; None: it stays missing."""
        for value in values:
            if (key := key_of(value)) is not None and (status := subscribed(key)) is not None:
                self.put(key, status)


def key_of(value: bytes | None) -> bytes | None:
    """Return the key of an action that asks for a confirmation, or None."""
    try:
        action = None if value is None else decode_action(value)
    except Undecodable:
        return None
    return None if action is None else status_key(action.org_id, action.contact_ref)


def processor(statuses: KnownStatuses) -> ActionProcessor:
    """Return the path in Python. It never stops: a person has accepted every dead letter."""
    lookups: Any = statuses.lookups
    limit = DeadLetterLimit(1.0, TOPIC, PARTITION)
    limit.accept(1 << 63)
    return ActionProcessor(
        TOPIC,
        PARTITION,
        emails_topic="emails",
        dead_letters_topic="dlq",
        subscribed=lambda _, key, __: None if statuses.away else statuses.rows.get(key),
        lookups=lookups,
        now=lambda: NOW,
        lookups_most=100,
        lookups_most_per_organisation=50,
        dead_letter_limit=limit,
    )


def native_pass(
    log: bytes,
    statuses: KnownStatuses,
    *,
    of_library: Any = None,
    writer: EmailWriter | None = None,
    batch: EmailBatch | None = None,
    next_offset: int = 0,
    aborted: Iterable[tuple[int, int]] = (),
    repeats_at: str | None = None,
    without_asking: WithoutAsking | None = None,
    most_emails: int = 1 << 31,
    most_records: int = 1 << 10,
) -> NativePass:
    """Return a pass over `log` that has not begun."""
    made = of_library or library()
    begun = NativePass(
        NativePartition(
            made,
            writer or EmailWriter(TOPIC, PARTITION),
            statuses.index,
            statuses.known,
            without_asking or processor(statuses).without_asking,
            repeats_at,
        )
    )
    begun.begin(
        log,
        next_offset=next_offset,
        aborted=aborted,
        inflate=lambda begin, end: inflated_records(memoryview(log)[begin:end]),
        most_records=most_records,
    )
    begun.put_into(batch or EmailBatch(made, BATCH_ROOM))
    begun.judge_at(NOW, NOW_MS, most_emails)
    return begun


def counted(run: NativePass) -> tuple[Counter[Any], Counter[int]]:
    """Return how often each outcome and each timestamp came since this was called last."""
    outcomes: Counter[Any] = Counter()
    timestamps: Counter[int] = Counter()
    run.count(outcomes, timestamps)
    return outcomes, timestamps
