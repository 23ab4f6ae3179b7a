"""Lookup answers on their way into the table, and out of it."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.statuses.lookup_cache import LookupCache
from streams.statuses.row import Row, decode_row
from streams.statuses.table import StatusTable
from tests.statuses.fake_changelog import FakeChangelog, faust_table

EXISTING, NON_EXISTING = LookupOutcome(Outcome.EXISTING), LookupOutcome(Outcome.NON_EXISTING)
DAY, HOUR = 86_400.0, 3_600.0
NOW = 1_000_000.0


class Bench:
    """Answers with a real table in memory. Wall clock and loop run together."""

    def __init__(self, folder: Path | None = None) -> None:
        self.changelog = FakeChangelog()
        store = "memory" if folder is None else "rocksdb"
        self.faust_table = faust_table(store, folder or Path(), 0)
        self.table = StatusTable(self.faust_table, lambda: self.changelog.send_many)
        self.partitions = {0, 1}
        self.random = 0.0
        self.lifetimes = {Outcome.EXISTING: DAY, Outcome.NON_EXISTING: HOUR}
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.answers = LookupCache(
            self.table,
            lambda org_id, outcome: self.lifetimes[outcome] if org_id == 310 else 0.0,
            now=lambda: NOW + loop.time() - started,
            random=lambda: self.random,
            partitions=lambda: self.partitions,
        )

    def row(self, key: bytes, partition: int = 0) -> Row | None:
        raw = self.table.rows.get(partition, key)
        return None if raw is None else decode_row(raw)

    @asynccontextmanager
    async def at_work(self, work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """One of the endless works goes on meanwhile."""
        task = asyncio.create_task(work())
        yield
        assert not task.done(), task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def running(self, work: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
        """Let one of the endless works run for a while."""
        async with self.at_work(work):
            await asyncio.sleep(seconds)


pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_answers_are_kept_for_the_lifetime_of_their_kind(bench: Bench) -> None:
    """Subscribed and not subscribed have lifetimes of their own, from the moment of the answer."""
    bench.answers.keep(0, b"a", 310, EXISTING)
    bench.answers.keep(1, b"b", 310, NON_EXISTING)
    await bench.running(bench.answers.write, 1)
    assert bench.row(b"a", 0) == Row(True, NOW, NOW + DAY)
    assert bench.row(b"b", 1) == Row(False, NOW, NOW + HOUR)


async def test_a_lifetime_is_shortened_by_up_to_a_tenth(bench: Bench) -> None:
    """Answers of one burst expire at different times, none of them late."""
    for random, key in ((0.0, b"a"), (0.5, b"b"), (1.0, b"c")):
        bench.random = random
        bench.answers.keep(0, key, 310, EXISTING)
    await bench.running(bench.answers.write, 1)
    found = [bench.row(key) for key in (b"a", b"b", b"c")]
    assert [each and each.expires_at for each in found] == [NOW + DAY, NOW + 0.95 * DAY, NOW + 0.9 * DAY]


async def test_failures_are_never_kept(bench: Bench) -> None:
    """A failed lookup of any cause leaves the status missing."""
    for cause in Cause:
        bench.answers.keep(0, b"a", 310, LookupOutcome(Outcome.ERROR, cause))
    await bench.running(bench.answers.write, 1)
    assert bench.changelog.sent == []


async def test_a_lifetime_of_zero_keeps_nothing(bench: Bench) -> None:
    """An organisation that says 0 is asked each time."""
    bench.answers.keep(0, b"a", 311, EXISTING)
    await bench.running(bench.answers.write, 1)
    assert bench.changelog.sent == []


async def test_answers_of_a_moment_are_written_together(bench: Bench) -> None:
    """What gathers in a twentieth of a second is one batch, and an answer waits no longer than that."""
    for number in range(10):
        bench.answers.keep(0, b"%d" % number, 310, EXISTING)
    await bench.running(bench.answers.write, LookupCache.GATHER + 0.001)
    assert [len(rows) for _, _, rows in bench.changelog.sent] == [10]


async def test_a_crm_row_is_not_overwritten_by_an_answer(bench: Bench) -> None:
    """An answer that comes after the CRM's own word is let go."""
    await bench.table.apply(0, [(b"a", Row(False, 1.0))])
    bench.answers.keep(0, b"a", 310, EXISTING)
    await bench.running(bench.answers.write, 1)
    assert bench.row(b"a") == Row(False, 1.0)


async def test_of_partitions_that_are_gone_nothing_is_written(bench: Bench) -> None:
    """An answer for a partition that was revoked meanwhile is dropped; the others are written."""
    bench.answers.keep(0, b"a", 310, EXISTING)
    bench.answers.keep(1, b"b", 310, EXISTING)
    bench.partitions = {1}
    await bench.running(bench.answers.write, 1)
    assert [partition for _, partition, _ in bench.changelog.sent] == [1]


async def test_what_kafka_does_not_take_is_not_kept_and_later_answers_are(bench: Bench) -> None:
    """A failed write costs another lookup, and nothing else."""
    bench.changelog.trouble = [KafkaConnectionError()]
    async with bench.at_work(bench.answers.write):
        bench.answers.keep(0, b"a", 310, EXISTING)
        await asyncio.sleep(1)
        bench.answers.keep(0, b"b", 310, EXISTING)
        await asyncio.sleep(1)
        assert (bench.row(b"a"), bench.row(b"b") is not None) == (None, True)


async def test_while_kafka_hangs_memory_is_bounded(bench: Bench) -> None:
    """Answers beyond the bound are not kept; when Kafka is back, there is room again."""
    bench.answers.WAITING_MOST = 10  # type: ignore[misc]  # the test's own bound
    bench.changelog.gate = asyncio.Event()
    async with bench.at_work(bench.answers.write):
        bench.answers.keep(0, b"first", 310, EXISTING)
        await asyncio.sleep(1)
        for number in range(25):
            bench.answers.keep(number % 2, b"%d" % number, 310, EXISTING)
        bench.changelog.gate.set()
        await asyncio.sleep(1)
        assert len(bench.changelog.values()) == 1 + 10
        bench.answers.keep(0, b"last", 310, EXISTING)
        await asyncio.sleep(1)
        assert bench.row(b"last") is not None


async def test_many_answers_are_written_piece_by_piece(bench: Bench) -> None:
    """A backlog does not become one long stretch of work: between pieces the event loop has its turn."""
    count = 2 * LookupCache.WRITE_SIZE + 1
    for number in range(count):
        bench.answers.keep(0, b"%d" % number, 310, EXISTING)
    await bench.running(bench.answers.write, 1)
    sizes = [len(rows) for _, _, rows in bench.changelog.sent]
    assert sizes == [LookupCache.WRITE_SIZE, LookupCache.WRITE_SIZE, 1]


async def test_the_sweep_forgets_what_has_expired(bench: Bench) -> None:
    """Expired answers go, from store and changelog; others and CRM rows stay."""
    rows = [
        (b"old", Row(True, 1.0, NOW - 1)),
        (b"fresh", Row(True, 1.0, NOW + DAY)),
        (b"crm", Row(False, 1.0)),
    ]
    await bench.table.apply(0, rows)
    await bench.table.apply(1, [(b"older", Row(True, 1.0, 5.0))])
    await bench.running(bench.answers.sweep, 5)
    assert [set(bench.table.rows.keys(partition)) for partition in (0, 1)] == [{b"fresh", b"crm"}, set()]
    assert bench.changelog.values()[-2:] == [(b"old", None), (b"older", None)]


async def test_the_sweep_takes_a_few_rows_at_a_time(bench: Bench) -> None:
    """A large table is swept in steps with pauses between, never in one go."""
    bench.answers.SWEEP_SIZE = 10  # type: ignore[misc]  # the test's own step
    await bench.table.apply(0, [(b"%d" % number, Row(True, 1.0, 5.0)) for number in range(35)])
    await bench.running(bench.answers.sweep, 1.5)
    assert len(list(bench.table.rows.keys(0))) == 25
    await bench.running(bench.answers.sweep, 10)
    assert list(bench.table.rows.keys(0)) == []


async def test_the_sweep_outlives_kafka_s_failures_and_lost_partitions(bench: Bench) -> None:
    """A step that fails is made up for in a later round; a partition that is gone is left alone."""
    await bench.table.apply(0, [(b"a", Row(True, 1.0, 5.0))])
    await bench.table.apply(1, [(b"b", Row(True, 1.0, 5.0))])
    bench.partitions = {0}
    bench.changelog.trouble = [KafkaConnectionError(), KafkaConnectionError()]
    await bench.running(bench.answers.sweep, 10)
    assert (bench.row(b"a"), bench.row(b"b", 1) is not None) == (None, True)


async def test_the_sweep_lets_go_of_a_partition_that_is_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RocksDB's lock is free after a revocation: a partition that comes back can be opened again."""
    monkeypatch.setattr(LookupCache, "SWEEP_EVERY", 0.01)
    monkeypatch.setattr(LookupCache, "SWEEP_SIZE", 1)
    bench = Bench(tmp_path)
    bench.partitions = {0}
    await bench.table.apply(0, [(b"%d" % number, Row(True, 1.0)) for number in range(1_000)])
    async with bench.at_work(bench.answers.sweep):
        await asyncio.sleep(0.05)  # in the middle of the walk
        store = bench.faust_table.data
        bench.partitions = set()
        store._dbs.pop(0)
        await asyncio.sleep(0.1)  # several steps' time
        gc.collect()
        store._db_for_partition(0)  # raises where somebody still holds the lock


async def test_nothing_personal_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Keys hold a contactRef: failures to write or sweep do not show them, nor an exception's text."""
    caplog.set_level(logging.DEBUG)
    bench.changelog.trouble = [KafkaConnectionError("canary")]
    bench.answers.keep(0, b"310:canary", 310, EXISTING)
    await bench.running(bench.answers.write, 1)
    await bench.table.apply(0, [(b"310:canary", Row(True, 1.0, 5.0))])
    bench.changelog.trouble = [KafkaConnectionError("canary")]
    await bench.running(bench.answers.sweep, 5)
    assert "KafkaConnectionError" in caplog.text
    assert "canary" not in caplog.text
