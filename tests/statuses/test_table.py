"""The status table on Faust's real stores, its changelog faked."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.statuses.rocks_rows import RocksRows
from streams.statuses.row import Row, decode_row, encode_row, overwrites
from streams.statuses.table import Change, MemoryRows, StatusTable
from tests.statuses.fake_changelog import CHANGELOG, FakeChangelog, faust_table

NOW = 1_000.0
YES, NO = Row(True, 10.0), Row(False, 10.0)


class Bench:
    """A status table on one of the stores."""

    def __init__(self, store: str, folder: Path, *partitions: int) -> None:
        self.faust_table = faust_table(store, folder, *(partitions or (0, 1)))
        self.changelog = FakeChangelog()
        self.table = StatusTable(self.faust_table, lambda: self.changelog.send_many)

    def says(self, key: bytes, partition: int = 0, now: float = NOW) -> bool | None:
        return self.table.subscribed(partition, key, now)


@pytest.fixture(params=["memory", "rocksdb"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(request.param, tmp_path)


async def test_what_is_applied_is_known_and_in_the_changelog(bench: Bench) -> None:
    """Rows are written to the changelog's partition as one batch, then known; others stay missing."""
    assert await bench.table.apply(1, [(b"a", YES), (b"b", NO)]) == 2
    assert [bench.says(key, 1) for key in (b"a", b"b", b"c")] == [True, False, None]
    assert bench.changelog.sent == [(CHANGELOG, 1, [(b"a", encode_row(YES), []), (b"b", encode_row(NO), [])])]


async def test_a_row_is_known_in_its_own_partition_only(bench: Bench) -> None:
    """A row that lies in another partition is not found: its action is looked up."""
    await bench.table.apply(1, [(b"a", YES)])
    assert bench.says(b"a", 0) is None


async def test_older_rows_and_answers_do_not_overwrite(bench: Bench) -> None:
    """Only what wins is counted, written and known, also within one chunk."""
    newer, older, answer = Row(False, 20.0), Row(True, 5.0), Row(True, 30.0, 2_000.0)
    assert await bench.table.apply(0, [(b"a", YES), (b"a", older), (b"a", newer), (b"a", answer)]) == 2
    assert await bench.table.apply(0, [(b"a", older), (b"a", answer)]) == 0
    assert bench.says(b"a") is False
    assert bench.changelog.values() == [(b"a", encode_row(newer))]


async def test_a_tombstone_forgets_and_what_follows_it_counts(bench: Bench) -> None:
    """After a tombstone even an older row is news, in the same chunk and in a later one."""
    await bench.table.apply(0, [(b"a", YES), (b"b", YES)])
    older = Row(False, 1.0)
    assert await bench.table.apply(0, [(b"a", None), (b"b", None), (b"b", older)]) == 3
    assert (bench.says(b"a"), bench.says(b"b")) == (None, False)
    assert bench.changelog.values()[-2:] == [(b"a", None), (b"b", encode_row(older))]
    await bench.table.apply(0, [(b"a", older)])
    assert bench.says(b"a") is False


async def test_a_tombstone_for_what_is_not_known_is_written_too(bench: Bench) -> None:
    """A row may still stand in the changelog of another worker's time: the tombstone must follow it."""
    assert await bench.table.apply(0, [(b"a", None)]) == 1
    assert bench.changelog.values() == [(b"a", None)]


async def test_a_tombstone_in_the_wrong_partition_forgets_nobody(bench: Bench) -> None:
    """A tombstone in the wrong partition leaves the row in its right partition alone."""
    await bench.table.apply(0, [(b"a", NO)])
    await bench.table.apply(1, [(b"a", None)])
    assert bench.says(b"a", 0) is False


async def test_an_expired_answer_is_missing(bench: Bench) -> None:
    """An answer is believed until it expires, and can then be given anew."""
    await bench.table.apply(0, [(b"a", Row(True, 10.0, NOW))])
    assert (bench.says(b"a", now=NOW - 0.001), bench.says(b"a", now=NOW)) == (True, None)
    await bench.table.apply(0, [(b"a", Row(False, NOW, NOW + 60))])
    assert bench.says(b"a") is False


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1,2.0,null]", b"\x00\x01"])
async def test_a_damaged_row_is_as_good_as_missing(bench: Bench, raw: bytes) -> None:
    """What cannot be read neither chooses a letter nor stops anything, and the next row replaces it."""
    bench.table.rows.put(0, {b"a": raw})
    assert bench.says(b"a") is None
    assert await bench.table.apply(0, [(b"a", Row(True, 1.0, NOW + 60))]) == 1
    assert bench.says(b"a") is True


async def test_what_the_changelog_does_not_take_is_not_known(bench: Bench) -> None:
    """When the changelog fails, the store is as before, and applying the same again makes up for it."""
    await bench.table.apply(0, [(b"a", NO)])
    changes: list[Change] = [(b"a", Row(True, 20.0)), (b"b", YES)]
    bench.changelog.trouble = [KafkaConnectionError()]
    with pytest.raises(KafkaConnectionError):
        await bench.table.apply(0, changes)
    assert (bench.says(b"a"), bench.says(b"b")) == (False, None)
    assert await bench.table.apply(0, changes) == 2
    assert (bench.says(b"a"), bench.says(b"b")) == (True, True)


async def test_nothing_new_writes_nothing(bench: Bench) -> None:
    """Without a change the changelog is left alone."""
    assert await bench.table.apply(0, []) == 0
    assert await bench.table.sweep(0, [b"a"], NOW) == 0
    assert bench.changelog.sent == []


async def test_changelog_and_store_agree_on_the_order(bench: Bench) -> None:
    """An answer that comes while a CRM row is being written waits, and then does not overwrite it."""
    bench.changelog.gate = asyncio.Event()
    of_crm = asyncio.create_task(bench.table.apply(0, [(b"a", NO)]))
    await asyncio.sleep(0)
    answer = asyncio.create_task(bench.table.apply(0, [(b"a", Row(True, 500.0, 5_000.0))]))
    await asyncio.sleep(0)
    bench.changelog.gate.set()
    assert (await of_crm, await answer) == (1, 0)
    assert bench.says(b"a") is False
    assert bench.changelog.values() == [(b"a", encode_row(NO))]


async def test_partitions_do_not_wait_for_each_other(bench: Bench) -> None:
    """While one partition's changelog hangs, another one's rows are written."""
    gate = bench.changelog.gate = asyncio.Event()
    hanging = asyncio.create_task(bench.table.apply(0, [(b"a", NO)]))
    await asyncio.sleep(0)
    bench.changelog.gate = None
    assert await asyncio.wait_for(bench.table.apply(1, [(b"b", YES)]), 1) == 1
    assert not hanging.done()
    gate.set()
    await hanging


async def test_the_sweep_forgets_expired_answers_only(bench: Bench) -> None:
    """Of the keys given, expired answers get a tombstone in the changelog; CRM rows and fresh ones stay."""
    await bench.table.apply(
        0,
        [
            (b"old", Row(True, 1.0, NOW - 1)),
            (b"fresh", Row(True, 1.0, NOW + 1)),
            (b"crm", NO),
            (b"other", Row(True, 1.0, NOW - 1)),
        ],
    )
    assert await bench.table.sweep(0, [b"old", b"fresh", b"crm", b"none"], NOW) == 1
    assert bench.changelog.values()[-1] == (b"old", None)
    assert set(bench.table.rows.keys(0)) == {b"fresh", b"crm", b"other"}


async def test_a_sweep_that_fails_forgets_nothing(bench: Bench) -> None:
    """When the changelog does not take the tombstones, the rows stay."""
    await bench.table.apply(0, [(b"old", Row(True, 1.0, NOW - 1))])
    bench.changelog.trouble = [KafkaConnectionError()]
    with pytest.raises(KafkaConnectionError):
        await bench.table.sweep(0, [b"old"], NOW)
    assert set(bench.table.rows.keys(0)) == {b"old"}


async def test_the_keys_are_those_of_the_partition(bench: Bench) -> None:
    """The walk gives each row's key, and nothing of another partition or of the store's own."""
    await bench.table.apply(0, [(b"a", YES), (b"b", YES)])
    await bench.table.apply(1, [(b"c", YES)])
    assert sorted(bench.table.rows.keys(0)) == [b"a", b"b"]
    assert sorted(bench.table.rows.keys(1)) == [b"c"]


async def test_changes_during_a_walk_over_the_keys_do_no_harm(bench: Bench) -> None:
    """Rows that come and go meanwhile may be missed, and nothing fails."""
    await bench.table.apply(0, [(b"%d" % number, YES) for number in range(100)])
    keys = bench.table.rows.keys(0)
    first = next(keys)
    await bench.table.apply(0, [(first, None), (b"new", YES)])
    rest = set(keys)
    assert rest >= {b"%d" % number for number in range(100)} - {first}


async def test_many_rows_of_every_kind_are_as_a_simple_fold_has_them(tmp_path: Path) -> None:
    """For any chunks of rows and tombstones both stores end as one dict, and so does their changelog."""
    times = st.integers(0, 4).map(float)
    row = st.builds(Row, st.booleans(), times, st.none() | times)
    chunk = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | row), max_size=6)
    benches = [Bench(store, tmp_path / store) for store in ("memory", "rocksdb")]
    used = iter(range(10_000))

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(chunk, max_size=4))
    def check(chunks: list[list[tuple[bytes, Row | None]]]) -> None:
        prefix = b"%d:" % next(used)  # each example has keys of its own, in the same stores
        model: dict[bytes, Row] = {}
        for changes in chunks:
            for key, new in changes:
                if new is None:
                    model.pop(prefix + key, None)
                elif overwrites(new, model.get(prefix + key)):
                    model[prefix + key] = new
        for each in benches:
            each.changelog.sent.clear()
            for changes in chunks:
                drive(each.table.apply(0, [(prefix + key, new) for key, new in changes]))
            replayed: dict[bytes | None, bytes | None] = dict(each.changelog.values())
            kept = {key: decode_row(raw) for key, raw in replayed.items() if raw is not None}
            assert kept == model
            for key in (b"a", b"b", b"c"):
                raw = each.table.rows.get(0, prefix + key)
                assert (None if raw is None else decode_row(raw)) == model.get(prefix + key)

    check()


def drive(coroutine: Any) -> None:
    """Run a coroutine that never really waits."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


# -- each store's own ------------------------------------------------------------------------------------


async def test_faust_s_recovery_and_our_rows_understand_each_other(tmp_path: Path) -> None:
    """What Faust restores from the changelog is found by our rows, with its partition; tombstones are not."""
    for store in ("memory", "rocksdb"):
        bench = Bench(store, tmp_path / store)
        await bench.table.apply(1, [(b"gone", YES)])
        events = [
            recovered(1, 40, b"a", encode_row(NO)),
            recovered(1, 41, b"gone", None),
            recovered(0, 7, b"b", encode_row(YES)),
        ]
        bench.faust_table.data.apply_changelog_batch(events, lambda key: key, lambda value: value)
        found = [bench.says(b"a", 1), bench.says(b"gone", 1), bench.says(b"b", 0), bench.says(b"b", 1)]
        assert found == [False, None, True, None]


def recovered(partition: int, offset: int, key: bytes, value: bytes | None) -> Any:
    """A changelog event as Faust's recovery applies it."""

    class Event:
        pass

    message, event = Event(), Event()
    vars(message).update(
        tp=TP(CHANGELOG, partition), partition=partition, offset=offset, key=key, value=value
    )
    vars(event).update(message=message, key=key, value=value)
    return event


async def test_rocksdb_remembers_how_much_of_the_changelog_it_contains(tmp_path: Path) -> None:
    """After each batch the store's offset is that of its last row: a restart recovers from there."""
    bench = Bench("rocksdb", tmp_path)
    changelog = TP(CHANGELOG, 0)
    assert bench.faust_table.data.persisted_offset(changelog) is None
    await bench.table.apply(0, [(b"a", YES), (b"b", YES)])
    assert bench.faust_table.data.persisted_offset(changelog) == 1
    await bench.table.apply(0, [(b"c", YES)])
    assert bench.faust_table.data.persisted_offset(changelog) == 2
    bench.changelog.trouble = [KafkaConnectionError()]
    with pytest.raises(KafkaConnectionError):
        await bench.table.apply(0, [(b"d", YES)])
    assert bench.faust_table.data.persisted_offset(changelog) == 2


async def test_rocksdb_s_rows_last(tmp_path: Path) -> None:
    """A store that is opened anew on the same folder has the rows, and says how far they go."""
    bench = Bench("rocksdb", tmp_path)
    await bench.table.apply(0, [(b"a", YES)])
    bench.faust_table.data._dbs.clear()
    gc.collect()
    again = Bench("rocksdb", tmp_path)
    assert again.says(b"a") is True
    assert again.faust_table.data.persisted_offset(TP(CHANGELOG, 0)) == 0


async def test_rocksdb_takes_nothing_for_a_partition_that_was_revoked(tmp_path: Path) -> None:
    """A batch that lands after the revocation is dropped, and opens no database; reads find nothing."""
    bench = Bench("rocksdb", tmp_path)
    bench.changelog.gate = asyncio.Event()
    applying = asyncio.create_task(bench.table.apply(0, [(b"a", YES)]))
    await asyncio.sleep(0)
    bench.faust_table.data._dbs.pop(0)
    bench.changelog.gate.set()
    await applying
    assert 0 not in bench.faust_table.data._dbs
    assert bench.says(b"a") is None
    assert list(bench.table.rows.keys(0)) == []


async def test_rocksdb_claims_nothing_that_was_written_before_a_rebalance_ended(tmp_path: Path) -> None:
    """A batch that the changelog took in an older generation stays out: others may have written before it."""
    bench = Bench("rocksdb", tmp_path)
    generation = 1
    table = StatusTable(bench.faust_table, lambda: bench.changelog.send_many, lambda: generation)
    await table.apply(0, [(b"a", YES)])
    bench.changelog.gate = asyncio.Event()
    applying = asyncio.create_task(table.apply(0, [(b"b", YES)]))
    await asyncio.sleep(0)
    generation = 3
    bench.changelog.gate.set()
    await applying
    assert sorted(table.rows.keys(0)) == [b"a"]
    assert bench.faust_table.data.persisted_offset(TP(CHANGELOG, 0)) == 0
    assert await table.apply(0, [(b"b", YES)]) == 1
    assert sorted(table.rows.keys(0)) == [b"a", b"b"]


async def test_the_store_decides_how_rows_are_kept(tmp_path: Path) -> None:
    """Each of Faust's stores has its own adapter."""
    assert isinstance(Bench("memory", tmp_path).table.rows, MemoryRows)
    assert isinstance(Bench("rocksdb", tmp_path).table.rows, RocksRows)


async def test_nothing_personal_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Keys hold a contactRef: they stay out of the log, also of a damaged row and of a failed write."""
    caplog.set_level(logging.DEBUG)
    bench.table.rows.put(0, {b"310:canary-7f3a": b"canary-7f3a"})
    bench.says(b"310:canary-7f3a")
    await bench.table.apply(0, [(b"310:canary-7f3a", YES)])
    assert "canary" not in caplog.text
