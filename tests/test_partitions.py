"""The owner of the actions topic's partitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from streams.partitions import Partitions


class FakeLanes:
    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self.told = told
        self.accepting = {0, 1}
        self.trouble: Exception | None = None

    async def assigned(self, partitions: Iterable[int], generation: int) -> None:
        self.told.append(("lanes assigned", set(partitions), generation))
        if self.trouble is not None:
            raise self.trouble

    async def revoked(self, partitions: Iterable[int]) -> None:
        self.told.append(("lanes revoked", set(partitions)))

    def accepts(self, partition: int) -> bool:
        return partition in self.accepting


class FakeCatchUp:
    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self.told = told
        self.whole_ones = {0, 2}

    def assigned(self, partitions: Iterable[int]) -> None:
        self.told.append(("catch-up assigned", set(partitions)))

    def stop(self) -> None:
        self.told.append(("catch-up stopped",))

    def whole(self, partition: int) -> bool:
        return partition in self.whole_ones


class Bench:
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.lanes, self.catch_up = FakeLanes(self.told), FakeCatchUp(self.told)
        lanes: Any = self.lanes
        catch_up: Any = self.catch_up
        self.partitions = Partitions(lanes, catch_up)


def test_records_are_taken_where_statuses_are_whole_and_the_lane_has_room() -> None:
    """Both must agree: a lane with room is not enough while its statuses are still being read."""
    bench = Bench()
    assert [bench.partitions.accepts(number) for number in range(4)] == [True, False, False, False]


async def test_statuses_are_behind_before_the_lanes_may_open() -> None:
    """The catch-up hears of an assignment first: no record slips past it. An iterator is read once."""
    bench = Bench()
    await bench.partitions.assigned(iter([0, 1]), 7)
    assert bench.told == [("catch-up assigned", {0, 1}), ("lanes assigned", {0, 1}, 7)]


async def test_the_group_is_joined_from_the_first_assignment_until_the_partitions_are_revoked() -> None:
    """Also an empty assignment is one; from a revocation to the next one the worker has not joined."""
    bench = Bench()
    assert not bench.partitions.joined
    await bench.partitions.assigned([], 7)
    assert bench.partitions.joined
    await bench.partitions.revoked([])
    assert not bench.partitions.joined


async def test_an_assignment_that_failed_is_none() -> None:
    """A worker whose lanes could not be told has not joined."""
    bench = Bench()
    bench.lanes.trouble = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await bench.partitions.assigned([0], 7)
    assert not bench.partitions.joined


async def test_a_revocation_stops_the_catch_up_and_closes_exactly_these_lanes() -> None:
    """What is being followed may not be ours any more."""
    bench = Bench()
    await bench.partitions.revoked(iter([1]))
    assert bench.told == [("catch-up stopped",), ("lanes revoked", {1})]
