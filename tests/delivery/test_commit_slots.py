"""Commit slots: how many transactions a worker has under way at once, and who has one together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition

from streams.delivery.commit_slots import MOST_LANES, CommitSlots
from streams.delivery.transaction import (
    Fenced,
    NotBegun,
    NotTogether,
    Outgoing,
    Part,
    Position,
    TransactionFailed,
)
from tests.clients import happens


class Alone:
    """Transactions that cannot be shared; each waits until it is told how it ends."""

    def __init__(self) -> None:
        self.alone: list[int] = []  # offsets
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def open(self) -> Position:
        return Position(0, "")

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        del records, metadata
        await self.may_end.wait()
        self.alone.append(offset)

    async def close(self) -> None:
        pass


class Sharing(Alone):
    """Transactions that can be shared, and remember what was committed together."""

    def __init__(self, partition: int) -> None:
        super().__init__()
        self.topic_partition = TopicPartition("actions", partition)
        self.membership: tuple[int, str, str | None] | None = (5, "worker-0-abc", None)
        self.failure: BaseException | None = None
        self.together: list[list[int]] = []  # offsets
        self.parts: Sequence[Part] = ()
        self.went_alone = 0

    async def commit_together(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        self.together.append([part.offset for part in parts])

    def go_alone(self) -> None:
        self.went_alone += 1


def one() -> int:
    """So many results a lane has."""
    return 1


async def commit(slots: CommitSlots, transactions: Any, offset: int, results: int = 1) -> None:
    """Commit as a lane does."""
    shared = transactions if isinstance(transactions, Sharing) else None
    async with slots.slot(transactions, lambda: results, shared) as seat:
        await seat.commit([], offset, "")


async def test_a_free_slot_is_had_at_once() -> None:
    """A lane that shares nothing waits for nothing."""
    slots = CommitSlots(at_once=1, rest=60, longest=60, gather=10**9)
    async with asyncio.timeout(30):
        await commit(slots, one := Alone(), 7)
    assert one.alone == [7]


async def test_one_that_may_share_and_has_much_waits_for_nobody() -> None:
    """With as many results as a common transaction takes, there is nobody to wait for."""
    slots = CommitSlots(at_once=1, rest=60, longest=60, gather=10**9, together=10)
    async with asyncio.timeout(30):
        await commit(slots, one := Sharing(0), 7, results=10)
    assert one.alone == [7]


async def test_no_more_than_so_many_at_once_first_come_first_served() -> None:
    """Lanes that have to wait get their slot in the order in which they asked."""
    slots = CommitSlots(at_once=2, rest=0.0)
    under_way, most = 0, 0
    order: list[int] = []

    async def lane(number: int) -> None:
        nonlocal under_way, most
        async with slots.slot(Alone(), one):
            order.append(number)
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*map(lane, range(20)))
    assert order == list(range(20))
    assert most == 2


async def test_a_slot_rests_before_it_is_handed_out_again() -> None:
    """The event loop has some time for all else between two transactions."""
    slots = CommitSlots(at_once=1, rest=0.05)
    loop = asyncio.get_running_loop()
    await commit(slots, Alone(), 1)
    ended = loop.time()
    async with slots.slot(Alone(), one):
        assert loop.time() - ended >= 0.049


async def test_a_transaction_that_hangs_does_not_hold_up_the_others_for_ever() -> None:
    """A slot that is held too long is handed on, once, and not once more when its transaction ends."""
    slots = CommitSlots(at_once=1, rest=0.0, longest=0.01)
    done = asyncio.Event()

    async def hang() -> None:
        async with slots.slot(Alone(), one):
            await done.wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    async with asyncio.timeout(30), slots.slot(Alone(), one):
        done.set()
        await hanging
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005), slots.slot(Alone(), one):
                pytest.fail("a second slot where there is one")


@pytest.mark.parametrize("failure", [RuntimeError, TransactionFailed])
async def test_a_slot_is_given_back_whatever_happens(failure: type[BaseException]) -> None:
    """A failed transaction does not take its slot along."""
    slots = CommitSlots(at_once=1, rest=0.0)
    with pytest.raises(failure):
        async with slots.slot(Alone(), one):
            raise failure("x")
    async with asyncio.timeout(30), slots.slot(Alone(), one):
        pass


async def test_a_lane_that_is_closed_gives_its_slot_back() -> None:
    """A lane whose task is cancelled in its transaction does not take the slot along."""
    slots = CommitSlots(at_once=1, rest=0.0)
    (hanging := Alone()).may_end.clear()
    closed = asyncio.create_task(commit(slots, hanging, 1))
    await asyncio.sleep(0)
    closed.cancel()
    async with asyncio.timeout(30), slots.slot(Alone(), one):
        pass


async def test_who_no_longer_waits_takes_no_slot() -> None:
    """A lane that is closed while it waits leaves the slot to the next one."""
    slots = CommitSlots(at_once=1, rest=0.0)
    gone, next_one = Alone(), Alone()
    async with slots.slot(Alone(), one):
        waits, follows = (asyncio.create_task(commit(slots, each, 1)) for each in (gone, next_one))
        await asyncio.sleep(0)
        waits.cancel()
    async with asyncio.timeout(30):
        await follows
    assert (gone.alone, next_one.alone) == ([], [1])


@pytest.mark.parametrize("turns", range(6))
async def test_who_is_closed_in_the_moment_of_getting_a_slot_gives_it_back(turns: int) -> None:
    """However many turns of the event loop lie between the two, the slot is not lost."""
    slots = CommitSlots(at_once=1, rest=0.0)
    async with slots.slot(Alone(), one):
        waits = asyncio.create_task(commit(slots, Alone(), 1))
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    waits.cancel()
    await asyncio.wait({waits})
    async with asyncio.timeout(30), slots.slot(Alone(), one):
        pass


# -- together ---------------------------------------------------------------------------------------------


async def test_lanes_that_wait_at_the_same_moment_commit_together() -> None:
    """One transaction, led by the last of them, has the parts of all; the lanes go on together."""
    slots = CommitSlots(at_once=4)
    lanes = [Sharing(number) for number in range(3)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(commit(slots, lane, 10 + number) for number, lane in enumerate(lanes)))
    assert [lane.together for lane in lanes] == [[], [], [[10, 11, 12]]]
    assert [part.place.partition for part in lanes[2].parts] == [0, 1, 2]
    assert [lane.alone for lane in lanes] == [[], [], []]


async def test_lanes_that_ask_one_turn_of_the_event_loop_after_the_other_commit_together() -> None:
    """Each that asks begins the count of turns anew; one that asks after it has a slot of its own."""
    slots = CommitSlots(at_once=4, gather=3)
    lanes = [Sharing(number) for number in range(4)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as all_lanes:
        for number, turns in enumerate((2, 2, 6, 0)):
            all_lanes.create_task(commit(slots, lanes[number], number))
            for _ in range(turns):
                await asyncio.sleep(0)
    assert [lane.together for lane in lanes] == [[], [], [[0, 1, 2]], []]
    assert [lane.alone for lane in lanes] == [[], [], [], [3]]


async def test_lanes_of_two_generations_do_not_commit_together() -> None:
    """A lane of an assignment that is over has no part in what a member of the next one commits."""
    slots = CommitSlots(at_once=4)
    lanes = [Sharing(number) for number in range(3)]
    lanes[1].membership = (4, "worker-0-abc", None)
    async with asyncio.timeout(30):
        await asyncio.gather(*(commit(slots, lane, number) for number, lane in enumerate(lanes)))
    assert [lane.together for lane in lanes] == [[], [], [[0, 2]]]
    assert lanes[1].alone == [1]


async def test_one_that_may_share_and_finds_nobody_commits_alone() -> None:
    """It is an ordinary transaction then, without the membership of the group."""
    slots = CommitSlots(at_once=1)
    async with asyncio.timeout(30):
        await commit(slots, one := Sharing(0), 7)
    assert (one.alone, one.together) == ([7], [])


async def test_a_common_transaction_has_no_more_than_so_many_results() -> None:
    """Who would make it too large has a slot of its own; one that waits behind it and has less goes along."""
    slots = CommitSlots(at_once=4, together=10)
    lanes = [Sharing(number) for number in range(4)]
    async with asyncio.timeout(30):
        await asyncio.gather(
            commit(slots, lanes[0], 0, results=4),
            commit(slots, lanes[1], 1, results=8),
            commit(slots, lanes[2], 2, results=5),
            commit(slots, lanes[3], 3, results=1),
        )
    assert [lane.together for lane in lanes] == [[], [], [], [[0, 2, 3]]]
    assert [lane.alone for lane in lanes] == [[], [1], [], []]


async def one_under_way(slots: CommitSlots, transactions: Alone) -> asyncio.Task[None]:
    """A lane's commit that has begun, and ends when `transactions.may_end` is set."""
    transactions.may_end.clear()
    begun = asyncio.create_task(commit(slots, transactions, 0))
    for _ in range(4):
        await asyncio.sleep(0)
    return begun


async def test_lanes_wait_for_a_common_transaction_and_have_the_next_one_together() -> None:
    """While one is under way, those that ask gather, however many slots are free."""
    slots = CommitSlots(at_once=4, rest=0.0, longest=60)
    lanes = [Sharing(number) for number in range(4)]
    first = await one_under_way(slots, lanes[0])
    async with asyncio.timeout(30), asyncio.TaskGroup() as others:
        for lane in lanes[1:]:
            others.create_task(commit(slots, lane, lane.topic_partition.partition))
            for _ in range(4):
                await asyncio.sleep(0)
        assert [lane.alone for lane in lanes] == [[], [], [], []]
        lanes[0].may_end.set()
        await first
    assert lanes[0].alone == [0]
    assert [lane.together for lane in lanes] == [[], [], [], [[1, 2, 3]]]


async def test_lanes_that_have_much_wait_for_no_common_transaction() -> None:
    """As soon as those that wait have as much as one may have, they have a slot of their own."""
    slots = CommitSlots(at_once=4, rest=0.0, longest=60, together=10)
    first = await one_under_way(slots, hanging := Sharing(0))
    async with asyncio.timeout(30):
        await asyncio.gather(
            commit(slots, one := Sharing(1), 1, results=6), commit(slots, another := Sharing(2), 2, results=4)
        )
    assert (one.together, another.together) == ([], [[1, 2]])
    hanging.may_end.set()
    await first


async def test_a_lane_that_may_not_share_waits_for_no_common_transaction() -> None:
    """It passes those that do, as long as a slot is free."""
    slots = CommitSlots(at_once=2, rest=0.0, longest=60)
    first = await one_under_way(slots, hanging := Sharing(0))
    waits = asyncio.create_task(commit(slots, waiting := Sharing(1), 1))
    async with asyncio.timeout(30):
        await commit(slots, passing := Alone(), 2)
    assert (passing.alone, waiting.alone) == ([2], [])
    hanging.may_end.set()
    async with asyncio.timeout(30):
        await asyncio.gather(first, waits)
    assert waiting.alone == [1]


async def test_a_lane_of_another_generation_waits_for_no_common_transaction() -> None:
    """It can have no part in the next one of that generation."""
    slots = CommitSlots(at_once=2, rest=0.0, longest=60)
    first = await one_under_way(slots, hanging := Sharing(0))
    other = Sharing(1)
    other.membership = (6, "worker-0-abc", None)
    async with asyncio.timeout(30):
        await commit(slots, other, 7)
    assert other.alone == [7]
    hanging.may_end.set()
    await first


async def test_a_lane_goes_on_waiting_while_another_generation_gets_a_slot() -> None:
    """Each generation waits for its own common transaction, though a slot is free for either."""
    slots = CommitSlots(at_once=4, rest=0.0, longest=60)
    first = await one_under_way(slots, hanging := Sharing(0))
    waits = asyncio.create_task(commit(slots, waiting := Sharing(1), 1))
    others = [Sharing(2), Sharing(3)]
    for each in others:
        each.membership = (6, "worker-0-abc", None)
    begun = await one_under_way(slots, others[0])
    follows = asyncio.create_task(commit(slots, others[1], 3))
    for _ in range(8):
        await asyncio.sleep(0)
    assert (waiting.alone, others[1].alone) == ([], [])
    others[0].may_end.set()
    async with asyncio.timeout(30):
        await asyncio.gather(begun, follows)
    assert (waiting.alone, others[1].alone) == ([], [3])
    hanging.may_end.set()
    async with asyncio.timeout(30):
        await asyncio.gather(first, waits)
    assert waiting.alone == [1]


async def test_lanes_wait_for_the_last_common_transaction_only() -> None:
    """An earlier one that hangs does not hold up a lane that asks when the later one has ended."""
    slots = CommitSlots(at_once=4, rest=0.0, longest=60, together=10)
    first = await one_under_way(slots, hanging := Sharing(0))
    async with asyncio.timeout(30):
        await asyncio.gather(*(commit(slots, Sharing(number), number, results=5) for number in (1, 2)))
        await commit(slots, after := Sharing(3), 3)
    assert after.alone == [3]
    hanging.may_end.set()
    await first


async def test_what_lanes_of_another_generation_have_does_not_end_a_wait() -> None:
    """Only what would go into the next common transaction counts."""
    slots = CommitSlots(at_once=2, rest=0.0, longest=60, together=10)
    first = await one_under_way(slots, hanging := Sharing(0))
    waits = asyncio.create_task(commit(slots, waiting := Sharing(1), 1, results=4))
    for _ in range(4):
        await asyncio.sleep(0)
    other = Sharing(2)
    other.membership = (6, "worker-0-abc", None)
    other.may_end.clear()
    begun = asyncio.create_task(commit(slots, other, 2, results=8))
    for _ in range(4):
        await asyncio.sleep(0)
    assert waiting.alone == []  # the free slot is not its, though it has asked first
    other.may_end.set()
    async with asyncio.timeout(30):
        await begun
    hanging.may_end.set()
    async with asyncio.timeout(30):
        await asyncio.gather(first, waits)
    assert (other.alone, waiting.alone) == ([2], [1])


async def test_a_lane_that_is_closed_behind_one_that_waits_takes_no_slot() -> None:
    """The next one behind it, that waits for nothing but a slot, has it."""
    slots = CommitSlots(at_once=2, rest=0.0, longest=60)
    shared = await one_under_way(slots, hanging := Sharing(0))
    alone = await one_under_way(slots, ending := Alone())
    lanes: list[Alone] = [Sharing(1), Alone(), Alone()]
    waits, gone, follows = (asyncio.create_task(commit(slots, lane, 1)) for lane in lanes)
    for _ in range(4):
        await asyncio.sleep(0)
    gone.cancel()
    ending.may_end.set()
    async with asyncio.timeout(30):
        await asyncio.gather(alone, follows)
    assert [lane.alone for lane in lanes] == [[], [], [1]]
    hanging.may_end.set()
    async with asyncio.timeout(30):
        await asyncio.gather(shared, waits)


async def test_nothing_is_left_of_a_lane_that_was_closed_while_it_waited() -> None:
    """As soon as there is a slot, the lane is forgotten, also where no other one asks."""
    slots = CommitSlots(at_once=1, rest=0.0, longest=60)
    alone = await one_under_way(slots, ending := Alone())
    gone = asyncio.create_task(commit(slots, Alone(), 1))
    await asyncio.sleep(0)
    gone.cancel()
    ending.may_end.set()
    await alone
    await happens(lambda: not slots._queue)


async def test_a_slot_is_handed_on_while_a_common_transaction_hangs() -> None:
    """A lane that waits for a slot, and not for that transaction, has the first one that becomes free."""
    slots = CommitSlots(at_once=2, rest=0.0, longest=60)
    shared = await one_under_way(slots, hanging := Sharing(0))
    alone = await one_under_way(slots, ending := Alone())
    waits = asyncio.create_task(commit(slots, waiting := Alone(), 1))
    await asyncio.sleep(0)
    ending.may_end.set()
    async with asyncio.timeout(30):
        await asyncio.gather(alone, waits)
    assert (waiting.alone, hanging.alone) == ([1], [])
    hanging.may_end.set()
    await shared


async def test_lanes_that_wait_for_a_common_transaction_have_one_timer() -> None:
    """Others that commit meanwhile, in slots that are free again, set none that stays or comes again."""
    slots = CommitSlots(at_once=4, rest=0.0, longest=60)
    loop: Any = asyncio.get_running_loop()
    first = await one_under_way(slots, hanging := Sharing(0))
    waits = [asyncio.create_task(commit(slots, Sharing(number), number)) for number in (1, 2)]
    for offset in range(3):
        for _ in range(4):
            await asyncio.sleep(0)
        await commit(slots, Alone(), offset)
        timers = [each for each in loop._scheduled if each._callback == slots._hand_out]
        assert sum(not each.cancelled() for each in timers) == 1
    timer = slots._look_again
    for _ in range(10):
        await asyncio.sleep(0)
    assert slots._look_again is timer
    hanging.may_end.set()
    async with asyncio.timeout(30):
        await asyncio.gather(first, *waits)


async def test_a_common_transaction_that_hangs_is_waited_for_no_longer_than_any_other() -> None:
    """After `longest`, those that wait for it have the next slot."""
    slots = CommitSlots(at_once=4, rest=0.0, longest=0.01)
    first = await one_under_way(slots, hanging := Sharing(0))
    async with asyncio.timeout(30):
        await asyncio.gather(commit(slots, Sharing(1), 1), commit(slots, other := Sharing(2), 2))
    assert other.together == [[1, 2]]
    assert not first.done()
    hanging.may_end.set()
    await first


async def test_no_timer_is_set_while_no_lane_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that rests becomes free by the clock, and not by a turn of the event loop."""
    slots = CommitSlots(at_once=1, rest=0.0)
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    monkeypatch.setattr(loop, "call_at", lambda when, *_: timers.append(when))
    for offset in (1, 2):
        await commit(slots, Alone(), offset)
    assert timers == []


async def test_who_may_not_share_now_commits_alone_beside_the_others() -> None:
    """One after a failure, and one of another kind, have transactions of their own."""
    slots = CommitSlots(at_once=1, rest=0.0)
    lanes: list[Any] = [Sharing(0), Sharing(1), Alone(), Sharing(3)]
    lanes[1].membership = None
    async with asyncio.timeout(30), asyncio.TaskGroup() as all_lanes, slots.slot(Alone(), one):
        for number, lane in enumerate(lanes):
            all_lanes.create_task(commit(slots, lane, number))
        await asyncio.sleep(0)
    assert lanes[3].together == [[0, 3]]
    assert [lane.alone for lane in lanes] == [[], [1], [2], []]


@pytest.mark.parametrize("failure", [NotTogether(), TransactionFailed("Down"), RuntimeError("a bug")])
async def test_a_common_transaction_that_fails_is_tried_alone_by_each(failure: Exception) -> None:
    """Its leader is told why; the others that each has to look for itself; for a while none shares."""
    slots = CommitSlots(at_once=1)
    lanes = [Sharing(number) for number in range(3)]
    lanes[2].failure = failure
    async with asyncio.timeout(30):
        ended = await asyncio.gather(
            *(commit(slots, lane, number) for number, lane in enumerate(lanes)), return_exceptions=True
        )
    assert ended[2] is failure
    assert [type(each) for each in ended[:2]] == [NotTogether, NotTogether]
    assert [lane.went_alone for lane in lanes] == [1, 1, 1]
    async with asyncio.timeout(30), slots.slot(Alone(), one):
        pass


async def test_what_cannot_begin_together_each_commits_alone() -> None:
    """Nothing was sent: no lane has to look at what is committed."""
    slots = CommitSlots(at_once=1)
    lanes = [Sharing(number) for number in range(3)]
    lanes[2].failure = NotBegun()
    async with asyncio.timeout(30):
        await asyncio.gather(*(commit(slots, lane, number) for number, lane in enumerate(lanes)))
    assert [lane.alone for lane in lanes] == [[0], [1], [2]]
    assert [lane.went_alone for lane in lanes] == [1, 1, 1]


async def test_a_worker_that_is_fenced_is_so_with_all_its_lanes() -> None:
    """None of them takes its partition back from a successor at once: each waits for the rebalance."""
    slots = CommitSlots(at_once=1)
    lanes = [Sharing(number) for number in range(3)]
    lanes[2].failure = Fenced("IllegalGenerationError")
    async with asyncio.timeout(30):
        ended = await asyncio.gather(
            *(commit(slots, lane, number) for number, lane in enumerate(lanes)), return_exceptions=True
        )
    assert [type(each) for each in ended] == [Fenced] * 3
    assert [str(each) for each in ended] == ["IllegalGenerationError"] * 3


async def test_one_transaction_has_so_many_lanes_at_most() -> None:
    """The group's offsets have to fit into one batch, with their metadata."""
    slots = CommitSlots(at_once=4)
    lanes = [Sharing(number) for number in range(MOST_LANES + 3)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(commit(slots, lane, number) for number, lane in enumerate(lanes)))
    assert [len(offsets) for lane in lanes for offsets in lane.together] == [MOST_LANES, 3]


async def test_one_that_leaves_without_a_part_holds_nobody_up() -> None:
    """A lane that finds nothing to commit any more, or fails before, leaves the slot to the others."""
    slots = CommitSlots(at_once=1)
    first, last = Sharing(0), Sharing(2)

    async def leave() -> None:
        async with slots.slot(gone := Sharing(1), one, gone):
            await asyncio.sleep(0.001)  # the others have their parts by now

    async with asyncio.timeout(30):
        await asyncio.gather(commit(slots, first, 1), leave(), commit(slots, last, 3))
    assert first.together == [[1, 3]]


async def under_way(slots: CommitSlots, leader: Sharing, other: Sharing) -> list[asyncio.Task[None]]:
    """Let two lanes commit together, as far as the leader's transaction, which does not end yet."""
    leader.may_end.clear()
    waits, leads = (asyncio.create_task(commit(slots, each, 1)) for each in (other, leader))
    await happens(lambda: len(leader.parts) == 2)
    return [leads, waits]


async def test_a_part_whose_lane_is_closed_is_withdrawn() -> None:
    """Whoever leads learns it before the end; the other lanes are told that it failed."""
    slots = CommitSlots(at_once=1)
    leader, closed = Sharing(0), Sharing(1)
    leads, waits = await under_way(slots, leader, closed)
    waits.cancel()
    await asyncio.wait({waits})
    assert [part.withdrawn for part in leader.parts] == [True, False]
    leader.failure = NotTogether()
    leader.may_end.set()
    with pytest.raises(NotTogether):
        await leads


async def test_a_leader_that_is_closed_leaves_the_others_to_themselves() -> None:
    """Nobody waits for a transaction that nobody ends."""
    slots = CommitSlots(at_once=1)
    leader, other = Sharing(0), Sharing(1)
    leads, waits = await under_way(slots, leader, other)
    leads.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(NotTogether):
            await waits
        async with slots.slot(Alone(), one):
            pass


@dataclass
class Late:
    """A lane that has a slot, and its part later or never."""

    lane: Sharing
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    seated: asyncio.Event = field(default_factory=asyncio.Event)

    async def come(self, slots: CommitSlots, *part: int) -> None:
        async with slots.slot(self.lane, one, self.lane) as seat:
            self.seated.set()
            await self.may_go_on.wait()
            for offset in part:
                await seat.commit([], offset, "")


async def test_a_lane_that_is_closed_before_all_have_their_parts_has_none() -> None:
    """Nothing was sent: who comes with its part afterwards commits alone."""
    slots = CommitSlots(at_once=1)
    closed, late = Sharing(0), Late(Sharing(1))
    waits, comes = asyncio.create_task(commit(slots, closed, 1)), asyncio.create_task(late.come(slots, 1))
    await late.seated.wait()
    await asyncio.sleep(0)
    waits.cancel()
    await asyncio.wait({waits})
    late.may_go_on.set()
    async with asyncio.timeout(30):
        await comes
    assert (closed.together, closed.alone, late.lane.alone) == ([], [], [1])


async def test_one_that_is_closed_in_the_moment_in_which_it_is_to_lead_leaves_that_to_the_next() -> None:
    """The others do not wait for it."""
    slots = CommitSlots(at_once=1)
    closed, others, late = Sharing(0), [Sharing(1), Sharing(2)], Late(Sharing(3))
    tasks = [asyncio.create_task(commit(slots, each, 1)) for each in (closed, *others)]

    async def leave_and_close() -> None:
        await late.come(
            slots
        )  # without a part: the first of them is told to lead, and has not had its turn yet
        tasks[0].cancel()

    leaves = asyncio.create_task(leave_and_close())
    await late.seated.wait()
    await asyncio.sleep(0)  # the three have their parts
    late.may_go_on.set()
    async with asyncio.timeout(30):
        await asyncio.wait([*tasks, leaves])
    assert tasks[0].cancelled()
    assert (closed.together, [each.together for each in others]) == ([], [[[1, 1]], []])


@pytest.mark.parametrize("seed", range(20))
async def test_every_lane_has_its_turn_in_whatever_order_lanes_ask_end_and_are_closed(seed: int) -> None:
    """Each commits, is closed, or is told that its common transaction failed; no slot is had twice."""
    choice = random.Random(seed)
    slots = CommitSlots(at_once=choice.randint(1, 4), rest=0.0, longest=60, together=10)
    lanes: list[Alone] = []
    under_way: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    for number in range(100):
        lane = Sharing(number) if choice.random() < 0.7 else Alone()
        if isinstance(lane, Sharing):
            lane.membership = (choice.randint(5, 6), "worker-0-abc", None)
        lane.may_end.clear()
        lanes.append(lane)
        under_way.append(asyncio.create_task(commit(slots, lane, number, results=choice.randint(1, 12))))
        for _ in range(choice.randint(0, 4)):
            await asyncio.sleep(0)
        assert len(slots._taken) <= slots._at_once
        if choice.random() < 0.5:
            choice.choice(lanes).may_end.set()
        if choice.random() < 0.2:
            choice.choice(under_way).cancel()
    for lane in lanes:
        lane.may_end.set()
    async with asyncio.timeout(30):
        ends = await asyncio.gather(*under_way, return_exceptions=True)
    assert not failures
    #: A lane that is closed takes its part away, and those beside it open their transactions again.
    assert {type(end) for end in ends} <= {type(None), NotTogether, asyncio.CancelledError}
    shared = [lane.together for lane in lanes if isinstance(lane, Sharing)]
    committed = [number for lane in lanes for number in lane.alone]
    committed += [number for together in shared for part in together for number in part]
    assert {number for number, end in enumerate(ends) if end is None} <= set(committed)
    assert len(set(committed)) == len(committed)
