"""The index of statuses: what it says is what was put last; what it does not say may have been given up."""

from __future__ import annotations

import threading
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

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_790_000_000.0
        self.index = StatusIndex(library(), 3 * BUCKET)
        self.right: dict[PartitionStatuses, dict[bytes, tuple[bool, float | None]]] = {}

    @rule(target=partitions)
    def assigned(self) -> PartitionStatuses:
        made = PartitionStatuses(self.index)
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
        partition.put(key, subscribed, expires_at)
        self.right[partition][key] = subscribed, expires_at
        if expires_at is None or expires_at > self.now + 1:
            assert partition.subscribed(key, self.now) is subscribed

    @rule(partition=partitions, key=st.sampled_from(KEYS))
    def forget(self, partition: PartitionStatuses, key: bytes) -> None:
        partition.forget(key)
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


Model.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestModel = Model.TestCase


def test_a_status_is_kept_as_long_as_there_is_room() -> None:
    """With twice the memory that the statuses need, all but about one in a hundred are kept."""
    statuses = PartitionStatuses(StatusIndex(library(), 2 * 16 * 20_000))
    for number in range(20_000):
        statuses.put(b"1:%d" % number, number % 3 == 0, None)
    said = [statuses.subscribed(b"1:%d" % number, 1.0) for number in range(20_000)]
    assert said.count(None) < 400
    assert all(each in (None, number % 3 == 0) for number, each in enumerate(said))


@pytest.mark.parametrize("most_bytes", [0, 1, BUCKET, 10 * BUCKET + 5])
def test_the_smallest_index_is_one_bucket(most_bytes: int) -> None:
    """However little memory is set, the last status that was put is there."""
    statuses = PartitionStatuses(StatusIndex(library(), most_bytes))
    for key in KEYS:
        statuses.put(key, True, None)
        assert statuses.subscribed(key, 1.0) is True


def test_memory_that_is_not_there_is_an_error() -> None:
    """An index that cannot be made says so, and is no pointer to nothing."""
    with pytest.raises(MemoryError):
        StatusIndex(SimpleNamespace(cs_index_new=lambda _: None), 1 << 20)


def test_a_key_is_known_in_its_own_partition_only() -> None:
    """Each partition has a secret of its own: the same key in another one is another key."""
    index = StatusIndex(library(), 1 << 16)
    one, other = PartitionStatuses(index), PartitionStatuses(index)
    one.put(b"310:a", True, None)
    assert (one.subscribed(b"310:a", 1.0), other.subscribed(b"310:a", 1.0)) == (True, None)
    other.put(b"310:a", False, None)
    other.forget(b"310:a")
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
                statuses.native.put(key, subscribed, None)

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
