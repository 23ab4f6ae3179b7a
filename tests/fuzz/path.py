"""The worker's whole reading path, once through: record bytes in, emails and dead letters out, and judged.

Real are the reader of record batches, the decoders, the status table, the processor, the lanes, their
transactions and what they encode, and the metrics. The broker is one of a few lines, and the lookup service
answers from the seed.
"""

import asyncio
import logging
import random
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from faust.types import TP
from prometheus_client import generate_latest

from streams.actions.dead_letter import DeadLetterLimit, read_dead_letter_headers, with_key
from streams.actions.outcomes import DeadLettered, Emailed, Rekeyed
from streams.actions.processor import ActionProcessor
from streams.actions.rekeying import Rekeying, rekeyed_from, with_first_timestamp
from streams.delivery import batches
from streams.delivery.kafka_transaction import KafkaTransactions
from streams.delivery.lane import Lane
from streams.delivery.lane_state import LaneLimits
from streams.delivery.results import Processed
from streams.delivery.topic_limits import TopicLimits
from streams.delivery.transaction import Outgoing, Position
from streams.kafka.chunks import Chunk
from streams.kafka.topics import DEAD_LETTER_MAX_MESSAGE_BYTES, DEFAULT_MAX_MESSAGE_BYTES
from streams.observability.metric_catalogue import STATUSES
from streams.observability.metrics import Metrics
from streams.observability.tracing import TracingProcessor
from streams.statuses.ingest import StatusIngest
from streams.statuses.table import StatusTable
from tests.fuzz import mutations, wire
from tests.fuzz.broker import Broker, Producer
from tests.fuzz.judge import dead_letter_faults, faults
from tests.fuzz.mutations import Sent
from tests.fuzz.surroundings import Lookups, Privacy, Spans, Watch
from tests.statuses.fake_changelog import FakeChangelog, faust_table

#: Records of one round; every third one is good.
ROUND = 500
#: Seconds after which a lane with work stands still.
_STUCK = 60.0
_FIRST_OFFSETS = (0, 0, 1, 2**31 - 100, 2**53, 2**62)
_CONNECTION = {"bootstrap_servers": "127.0.0.1:1"}


class Failure(NamedTuple):
    """One thing that is wrong, with the record that it happened to; None where it is about a whole round."""

    what: str
    topic: str
    offset: int
    sent: Sent | None


class Round:
    """`ROUND` records of a seed: statuses first, then actions, then what was or seems to be re-keyed."""

    def __init__(self, seed: int, number: int) -> None:
        """Draw the limits and partitions of the round with this number."""
        self._dice = dice = random.Random(f"{seed}/{number}")
        self._chance = random.Random(f"{seed}/{number}/later")  # whose turns depend on timing
        self._partitions = dice.choice([1, 4])
        self._first = dice.choice(_FIRST_OFFSETS)
        room = {
            "emails": dice.choice([DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_MAX_MESSAGE_BYTES, 20_000]),
            "dlq": dice.choice([DEAD_LETTER_MAX_MESSAGE_BYTES, DEAD_LETTER_MAX_MESSAGE_BYTES, 70_000, 1_000]),
            "rekeyed": dice.choice([DEAD_LETTER_MAX_MESSAGE_BYTES, DEAD_LETTER_MAX_MESSAGE_BYTES, 20_000]),
        }
        self._broker = Broker(room, dice.choice([(), (), ("dlq",)]))
        self._complete = with_key if self._broker.compacted and dice.random() < 0.5 else lambda letter: letter
        self._metrics = Metrics("actions", "statuses")
        self._good: set[tuple[str, int]] = set()  # topic and offset
        self._seen: Counter[tuple[str, int]] = Counter()  # records of an output partition that were judged
        self.failures: list[Failure] = []
        #: What became of the records, by kind.
        self.outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        """Send, process and judge. What is wrong is in `failures` then."""
        log = logging.getLogger("streams")
        watch = Privacy()
        log.addHandler(watch)
        before, log.propagate = log.propagate, False
        try:
            with self._broker.serving():
                await self._run()
        except Exception:  # whatever it is, it is found
            self._fail(traceback.format_exc(limit=-4))
        finally:
            log.removeHandler(watch)
            log.propagate = before
        for line in watch.leaks:
            self._fail(f"a log line says {line!r}")

    async def _run(self) -> None:
        dice, few = self._dice, ROUND // 6
        changelog = FakeChangelog()
        self._statuses = StatusTable(faust_table("memory", Path()), lambda: changelog.send_many)
        self._lookups = Lookups(self._chance)
        partition, first = dice.randrange(self._partitions), self._first
        await self._ingest(partition, self._drawn("statuses", first, few))
        sent = self._drawn("actions", first, ROUND - 2 * few)
        await self._confirm("actions", partition, self._log(sent, first), first, sent)
        for number in range(self._partitions):
            log = bytes(self._broker.logs["rekeyed", number])
            if number == partition:
                begin = len(self._broker.written("rekeyed", number))
                log += self._log(self._drawn("rekeyed", begin, few), begin)
            await self._confirm("rekeyed", number, log, 0)
        generate_latest(self._metrics.registry)

    def _drawn(self, topic: str, first: int, count: int) -> list[Sent]:
        """Draw records, and note which of them are good."""
        dice = self._dice
        statuses = topic == "statuses"
        good, examples = (
            (mutations.good_status, mutations.STATUSES)
            if statuses
            else (mutations.good_action, mutations.ACTIONS)
        )
        sent = []
        for offset in range(first, first + count):
            if topic != "rekeyed" and offset % 3 == 0:
                self._good.add((topic, offset))
                sent.append(good(dice.randrange(count)))
            else:
                sent.append(mutations.strange(dice, examples))
        return sent

    def _log(self, sent: Sequence[Sent], first: int) -> bytes:
        return wire.batches(sent, first, self._dice.choice(wire.CODECS), self._dice.randint(1, 100))

    # -- statuses ---------------------------------------------------------------------------------------

    async def _ingest(self, partition: int, sent: Sequence[Sent]) -> None:
        records = self._read("statuses", partition, self._log(sent, self._first), self._first, sent)
        producer = Producer(self._broker, **_CONNECTION)

        async def keep(letters: Sequence[Outgoing]) -> None:
            await batches.write(producer, letters, self._broker.limits)

        ingest = StatusIngest(self._statuses, self._metrics, keep, "dlq", lambda: 1, time.time)
        chunk = Chunk(TP("statuses", partition), records, 1)
        async with asyncio.timeout(_STUCK):
            await ingest.ingest(chunk)
        letters = {
            read_dead_letter_headers(letter.headers).offset: letter
            for letter in self._taken("dlq", partition)
        }
        dead = self._metrics.total(STATUSES, result="dead_letter")
        if dead != len(letters) or self._metrics.total(STATUSES) != len(records) or not chunk.settled:
            self._fail(f"of {len(records)} statuses {dead} are counted and {len(letters)} are dead letters")
        self.outcomes["status"] += len(records) - dead
        for record in records:
            letter = letters.get(record.offset)
            if letter is None:
                continue
            self.outcomes["status dead letter"] += 1
            if ("statuses", record.offset) in self._good:
                self._fail("is good, and is a dead letter", "statuses", record)
            error_class = read_dead_letter_headers(letter.headers).error_class
            place, own = ("statuses", partition, record.offset), list(record.headers)
            for what in dead_letter_faults(record, own, letter, place, error_class):
                self._fail(what, "statuses", record)

    # -- actions ----------------------------------------------------------------------------------------

    async def _confirm(
        self, topic: str, partition: int, log: bytes, first: int, sent: Sequence[Sent] = ()
    ) -> None:
        """Let a lane have a partition's log, and judge what it made of each record."""
        records = self._read(topic, partition, log, first, sent)
        watch = Watch(self._metrics)
        crashes: list[Exception] = []
        lane = self._lane(topic, partition, watch, crashes)
        self._broker.positions[TopicPartition(topic, partition)] = Position(first, "")
        await lane.open(_as_committed)
        waiting = [with_first_timestamp(each) for each in records] if topic == "rekeyed" else records
        try:
            async with asyncio.timeout(_STUCK):
                while (waiting or lane.has_work) and not crashes:
                    if waiting and lane.accepts:
                        many = self._chance.randint(1, 200)
                        lane.offer(waiting[:many])
                        waiting = waiting[many:]
                    await asyncio.sleep(0.001)
        except TimeoutError:
            self._fail(f"{topic}: the lane stands still ({lane.commit_failure or lane.halted})")
        await lane.close()
        for crash in crashes:
            self._fail(f"{topic}: the worker ends ({type(crash).__name__})")
        self._judge(topic, partition, records, watch.entries)

    def _lane(self, topic: str, partition: int, watch: Watch, crashes: list[Exception]) -> Lane:
        was_rekeyed = topic == "rekeyed"
        processor = ActionProcessor(
            "actions",
            partition,
            emails_topic="emails",
            dead_letters_topic="dlq",
            subscribed=self._statuses.subscribed,
            lookups=self._lookups,  # type: ignore[arg-type]  # as many methods as are called
            now=time.time,
            lookups_most=self._dice.choice([5, 100]),
            lookups_most_per_organisation=50,
            dead_letter_limit=DeadLetterLimit(1.0, topic, partition),
            rekeying=None if was_rekeyed else Rekeying("rekeyed", partition, self._partitions),
            rekeyed_from=rekeyed_from if was_rekeyed else None,
            complete=self._complete,
        )
        transactions = KafkaTransactions(
            TopicPartition(topic, partition),
            group="fuzz",
            connection=_CONNECTION,
            committed=self._broker.committed,
            limits=TopicLimits(self._broker.limits, reduced={"dlq"}),
            transaction_timeout=10,
        )
        return Lane(
            partition,
            transactions,
            TracingProcessor(processor, Spans(), topic, partition),  # type: ignore[arg-type]  # no collector
            watch,
            clock=time.monotonic,
            on_crash=crashes.append,
            limits=LaneLimits(uncommitted=self._dice.choice([200, 20_000])),
        )

    def _judge(self, topic: str, partition: int, records: list[Any], entries: list[Processed]) -> None:
        kept = {name: iter(self._taken(name, partition)) for name in ("emails", "dlq")}
        if topic == "actions":
            kept |= {f"rekeyed {n}": iter(self._taken("rekeyed", n)) for n in range(self._partitions)}
        outcomes: dict[int, Processed] = {}
        for entry in entries:
            (record, (outgoing, outcome)) = entry
            if record.offset in outcomes:
                self._fail("has two outcomes", topic, record)
            outcomes[record.offset] = entry
            kind = outcome.error_class if isinstance(outcome, DeadLettered) else type(outcome).__name__
            self.outcomes[str(kind).lower()] += 1
            written = None
            if outgoing is not None:
                name = outgoing.topic if outgoing.topic != "rekeyed" else f"rekeyed {outgoing.partition}"
                written = next(kept[name], None)
                if written is None or _parts(written) != _parts(outgoing):
                    self._fail("is not written as its outcome says", topic, record)
                    continue
            if (topic, record.offset) in self._good and not isinstance(outcome, Emailed | Rekeyed):
                self._fail(f"is good, and becomes {outcome}", topic, record)
            for what in faults(entry, written, (topic, partition), self._broker.limits):
                self._fail(what, topic, record)
        for record in records:
            if record.offset not in outcomes:
                self._fail("has no outcome", topic, record)
        for name, rest in kept.items():
            if (many := len(list(rest))) > 0:
                self._fail(f"{many} records too many are written to {name}")

    # -- what both need ---------------------------------------------------------------------------------

    def _read(self, topic: str, partition: int, log: bytes, first: int, sent: Sequence[Sent]) -> list[Any]:
        """Read a log as the worker does; what was sent must be in it."""
        records = list(wire.read(log, topic, partition, first))
        if sent and [(each.timestamp, *_parts(each)) for each in records] != [
            (each.timestamp, *_parts(each)) for each in sent
        ]:
            self._fail(f"{topic}: not every record is read as it was written")
        return records

    def _taken(self, topic: str, partition: int) -> list[Any]:
        """What was written to a partition since this was last asked."""
        written = self._broker.written(topic, partition)
        begin = self._seen[topic, partition]
        self._seen[topic, partition] = len(written)
        return written[begin:]

    def _fail(self, what: str, topic: str = "", record: Any = None) -> None:
        sent = None if record is None else Sent(record.timestamp, *_parts(record))
        self.failures.append(Failure(what, topic, -1 if record is None else record.offset, sent))


def _parts(record: Any) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
    return record.key, record.value, list(record.headers)


async def _as_committed(position: Position) -> Position:
    return position
