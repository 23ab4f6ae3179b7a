"""``python -m bench.native_pass``: what an action costs natively, and on the path in Python, in one run.

Both begin with the bytes of a fetched partition, and end with the sealed batches of a produce request:
unpacked, decoded, decided, written, with both checksums. No broker takes part. The rounds of the two take
turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import click
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.producer.message_accumulator import BatchBuilder

from bench.workload import Workload
from streams.actions.processor import ActionProcessor
from streams.delivery.batches import BATCH_BYTES, fill_batches
from streams.kafka.compressed_batches import inflated_records
from streams.kafka.record_batches import read_any_batch
from streams.messages.email import EmailWriter
from streams.native.build import build
from streams.native.email_batch import EmailBatch
from streams.native.email_pass import NativePartition, NativePass, Stop
from streams.native.library import load
from streams.native.status_index import PartitionStatuses, StatusIndex

WORK = Workload(8_000)
ROUNDS = 9
#: Actions of one fetch, and of one batch in it.
FETCHED, IN_BATCH = 2_000, 400
TOPIC, PARTITION = "actions", 0


def fetches() -> list[tuple[int, bytes]]:
    """Return what a broker answers, with the first offset of each answer."""
    records, answers = list(WORK.records()), []
    for first in range(0, len(records), FETCHED):
        answer = bytearray()
        for begin in range(first, first + FETCHED, IN_BATCH):
            builder = BatchBuilder(1 << 30, 0)
            for key, value in records[begin : begin + IN_BATCH]:
                builder.append(timestamp=1_790_000_000_000, key=key, value=value, headers=[])
            raw = bytearray(builder._build())
            raw[:8] = begin.to_bytes(8, "big")
            answer += raw
        answers.append((first, bytes(answer)))
    return answers


def in_python(rows: dict[bytes, bool]) -> Callable[[int, bytes], int]:
    """Return the path in Python over one fetch; it returns how many emails it made."""
    lookups: Any = None  # no status is missing
    judge = ActionProcessor(
        TOPIC,
        PARTITION,
        emails_topic="emails",
        dead_letters_topic="dlq",
        subscribed=lambda _, key, __: rows.get(key),
        lookups=lookups,
        now=time.time,
        lookups_most=100,
        lookups_most_per_organisation=100,
    )
    producer = SimpleNamespace(create_batch=lambda: BatchBuilder(BATCH_BYTES, 0, is_transactional=True))
    place = TopicPartition(TOPIC, PARTITION)
    read_any_batch()

    def path(first: int, answer: bytes) -> int:
        records = fetcher.PartitionRecords(
            place, fetcher.MemoryRecords(answer), [], first, None, None, True, fetcher.READ_COMMITTED
        )
        records._consumer_record = lambda _, record: record
        outgoing: list[Any] = [judge.process(record).outgoing for record in records]  # type: ignore[union-attr]  # all are known
        batches = fill_batches(producer, outgoing, PARTITION, {"emails": 1 << 20})
        for batch in batches:
            batch.builder._set_producer_state(1, 0, 0)
            batch.builder.close()
            batch.builder._build()
        return len(outgoing)

    return path


def natively(rows: dict[bytes, bool]) -> Callable[[int, bytes], int]:
    """Return the native pass over one fetch; it returns how many emails it made."""
    library = load(build())
    index = StatusIndex(library, 1 << 20)
    statuses = PartitionStatuses(index)
    for key, subscribed in rows.items():
        statuses.put({key: (subscribed, None)})
    partition = NativePartition(
        library, EmailWriter(TOPIC, PARTITION), index, lambda: statuses, lambda *_: None, None
    )
    batch = EmailBatch(library, BATCH_BYTES)

    def path(first: int, answer: bytes) -> int:
        now = time.time()
        run = NativePass(partition)
        run.begin(
            answer,
            next_offset=first,
            aborted=(),
            inflate=lambda begin, end: inflated_records(memoryview(answer)[begin:end]),
        )
        run.put_into(batch)
        run.judge_at(now, int(now * 1000), 1 << 31)
        emails = 0
        while True:
            stop = run.go_on()
            assert stop in (Stop.END, Stop.NO_ROOM), "every action is usual"
            batch.sealed(1, 0, 0)
            batch.clear()
            outcomes: Counter[object] = Counter()
            run.count(outcomes, Counter())
            emails += outcomes.total()
            if stop is Stop.END:
                return emails

    return path


def main() -> int:
    """Measure, and print the medians of all rounds and their ratio."""
    answers = fetches()
    rows = {WORK.key(number): number % 2 == 0 for number in range(WORK.people)}
    paths = {"in Python": in_python(rows), "natively": natively(rows)}
    spent: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(ROUNDS):
        for name, path in paths.items():
            before = time.thread_time()
            emails = sum(path(*answer) for answer in answers)
            spent[name].append((time.thread_time() - before) * 1e6 / emails)
            assert emails == WORK.actions
    for name, each in spent.items():
        spread = f"(least {min(each):.2f}, most {max(each):.2f})"
        click.echo(f"{name:10} {statistics.median(each):6.2f} us of CPU an action {spread}")
    ratios = [python / native for python, native in zip(*spent.values(), strict=True)]
    click.echo(
        f"ratio      {statistics.median(ratios):6.2f} x (least {min(ratios):.2f}, most {max(ratios):.2f})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
