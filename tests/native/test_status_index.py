"""The index of statuses: what it says is what was put last; what it does not say may have been given up."""

from __future__ import annotations

import resource
import threading
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from streams.native.email_pass import Stop, Why
from streams.native.status_index import PartitionStatuses, StatusIndex
from tests.fuzz.mutations import Sent, good_action
from tests.fuzz.wire import batches, read
from tests.native.built import KnownStatuses, key_of, library, native_pass

KEYS = [b"310:%d" % number for number in range(60)]
#: Memory of one bucket.
BUCKET = 8 * 16


class Model(RuleBasedStateMachine):
    """Two partitions in an index that is much too small, beside what would be right."""

    partitions = Bundle("partitions")
    #: Memory: in the first case entries are given up, in the second one the index grows several times.
    most_bytes = 3 * BUCKET

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_790_000_000.0
        self.index = StatusIndex(library(), self.most_bytes)
        self.right: dict[PartitionStatuses, dict[bytes, tuple[bool, float | None]]] = {}
        self.secrets = count()

    @rule(target=partitions)
    def assigned(self) -> PartitionStatuses:
        # Random secrets may share a label, and then each one's count has the other's entries, too.
        made = PartitionStatuses(self.index, lambda size: next(self.secrets).to_bytes(size, "little"))
        self.right[made] = {}
        return made

    @rule(partition=consumes(partitions))
    def revoked(self, partition: PartitionStatuses) -> None:
        partition.forget_all()
        assert [partition.subscribed(key, self.now) for key in KEYS] == [None] * len(KEYS)
        del self.right[partition]

    @rule(
        partition=partitions,
        key=st.sampled_from(KEYS),
        subscribed=st.booleans(),
        lifetime=st.none() | st.floats(-5.0, 100.0) | st.sampled_from([-2e9, 1e10, 1e308]),
    )
    def put(self, partition: PartitionStatuses, key: bytes, subscribed: bool, lifetime: float | None) -> None:
        expires_at = None if lifetime is None else self.now + lifetime
        partition.put({key: (subscribed, expires_at)})
        self.right[partition][key] = subscribed, expires_at
        if expires_at is None or expires_at > self.now + 1:
            assert partition.subscribed(key, self.now) is subscribed

    @rule(partition=partitions, key=st.sampled_from(KEYS))
    def forget(self, partition: PartitionStatuses, key: bytes) -> None:
        partition.forget([key])
        self.right[partition].pop(key, None)
        assert partition.subscribed(key, self.now) is None

    @rule(partition=partitions)
    def forget_all(self, partition: PartitionStatuses) -> None:
        partition.forget_all()
        self.right[partition].clear()

    @rule(seconds=st.floats(0.0, 60.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_stale(self) -> None:
        for partition, rows in self.right.items():
            for key in KEYS:
                known = partition.subscribed(key, self.now)
                if known is not None:
                    subscribed, expires_at = rows[key]
                    assert known is subscribed
                    assert expires_at is None or expires_at > self.now

    @invariant()
    def what_is_missing_was_given_up(self) -> None:
        for partition, rows in self.right.items():
            missing = any(
                partition.subscribed(key, self.now) is None
                for key, (_, expires_at) in rows.items()
                if expires_at is None or expires_at > self.now + 1
            )
            assert not missing or partition.given_up > 0


class GrowingModel(Model):
    """The same in an index that begins small, and has room for all."""

    most_bytes = 1 << 16

    @rule(partition=Model.partitions, subscribed=st.booleans())
    def put_all(self, partition: PartitionStatuses, subscribed: bool) -> None:
        for key in KEYS:
            self.put(partition, key, subscribed, None)

    @invariant()
    def nothing_is_given_up(self) -> None:
        for partition in self.right:
            assert partition.given_up == 0


Model.TestCase.settings = GrowingModel.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestModel, TestGrowingModel = Model.TestCase, GrowingModel.TestCase


def test_a_status_is_kept_as_long_as_there_is_room() -> None:
    """With twice the memory that the statuses need, all but about one in a hundred are kept."""
    statuses = PartitionStatuses(StatusIndex(library(), 2 * 16 * 20_000))
    for number in range(20_000):
        statuses.put({b"1:%d" % number: (number % 3 == 0, None)})
    said = [statuses.subscribed(b"1:%d" % number, 1.0) for number in range(20_000)]
    assert said.count(None) < 400
    assert all(each in (None, number % 3 == 0) for number, each in enumerate(said))


def test_what_is_given_up_for_want_of_room_is_counted() -> None:
    """Nothing is given up while there is room; after that the count says so, until all are forgotten."""
    statuses = PartitionStatuses(StatusIndex(library(), 1 << 16))
    put = 0
    while statuses.given_up == 0:
        put += 1
        statuses.put({b"1:%d" % put: (True, None)})
    assert put > 2_000  # of 4,096 slots
    missing = sum(statuses.subscribed(b"1:%d" % number, 1.0) is None for number in range(1, put + 1))
    assert missing == statuses.given_up == 1
    statuses.forget_all()
    assert statuses.given_up == 0


def test_an_index_takes_memory_for_the_statuses_that_it_knows() -> None:
    """However much it may take, 100,000 statuses take 28 bytes each, and a page for each of its parts."""
    page, before = resource.getpagesize(), _resident_pages()
    statuses = PartitionStatuses(StatusIndex(library(), 256 << 20))
    for number in range(100_000):
        statuses.put({b"1:%d" % number: (True, None)})
    assert (_resident_pages() - before) * page < 28 * 100_000 + (512 + 256) * page
    assert all(statuses.subscribed(b"1:%d" % number, 1.0) for number in range(100_000))


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_what_was_forgotten_leaves_its_room_to_others() -> None:
    """Partitions that come and go do not cost those that stay a status, although the index would be full."""
    index = StatusIndex(library(), 1 << 20)
    stays = PartitionStatuses(index, lambda _: bytes(16))
    for number in range(10_000):
        stays.put({b"1:%d" % number: (True, None)})
    for turn in range(1, 11):
        goes = PartitionStatuses(index, lambda _, turn=turn: bytes([turn] * 16))  # type: ignore[misc]  # the default binds it now
        for number in range(10_000):
            goes.put({b"1:%d" % number: (False, None)})
        assert goes.given_up == 0
        if turn % 2:
            goes.forget_all()
        del goes
    assert stays.given_up == 0
    assert all(stays.subscribed(b"1:%d" % number, 1.0) for number in range(10_000))


@pytest.mark.parametrize("most_bytes", [0, 1, BUCKET, 10 * BUCKET + 5])
def test_the_smallest_index_is_one_bucket(most_bytes: int) -> None:
    """However little memory is set, the last status that was put is there."""
    statuses = PartitionStatuses(StatusIndex(library(), most_bytes))
    for key in KEYS:
        statuses.put({key: (True, None)})
        assert statuses.subscribed(key, 1.0) is True


def test_memory_that_is_not_there_is_an_error() -> None:
    """An index that cannot be made says so, and is no pointer to nothing."""
    with pytest.raises(MemoryError):
        StatusIndex(SimpleNamespace(cs_index_new=lambda _: None), 1 << 20)


def test_a_key_is_known_in_its_own_partition_only() -> None:
    """Each partition has a secret of its own: the same key in another one is another key."""
    index = StatusIndex(library(), 1 << 16)
    one, other = PartitionStatuses(index), PartitionStatuses(index)
    one.put({b"310:a": (True, None)})
    assert (one.subscribed(b"310:a", 1.0), other.subscribed(b"310:a", 1.0)) == (True, None)
    other.put({b"310:a": (False, None)})
    other.forget([b"310:a"])
    assert one.subscribed(b"310:a", 1.0) is True


def test_a_pass_sees_whole_entries_while_another_thread_puts() -> None:
    """The interpreter's lock is free during a pass: no email of it has a letter that nobody put."""
    values = [good_action(number).value for number in range(40)]
    statuses = KnownStatuses(index_bytes=BUCKET)
    rows = {key: number % 2 == 0 for number, value in enumerate(values) if (key := key_of(value))}
    log = batches([Sent(0, None, value, []) for value in values], 0, 0, 40)
    ended = threading.Event()

    def put() -> None:
        while not ended.is_set():
            for key, subscribed in rows.items():
                statuses.native.put({key: (subscribed, None)})

    thread = threading.Thread(target=put)
    thread.start()
    try:
        emails = 0
        while emails < 500:
            run = native_pass(log, statuses)
            while run.go_on() is not Stop.END:
                assert run.why is Why.STATUS
            for email in read(bytes(run.batch.sealed(1, 0, 0))) if run.batch.count else ():
                assert rows[email.key] is (dict(email.headers)["variant"] == b"one_button")
                emails += 1
    finally:
        ended.set()
        thread.join()
