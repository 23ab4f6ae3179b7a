"""A lane against a cluster whose failures are at hand. Time is virtual: nothing here waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from streams.delivery import commit_metadata, transaction_size
from streams.delivery.lane import Lane
from streams.delivery.lane_state import LaneLimits
from streams.delivery.results import Release
from streams.delivery.transaction import BatchRefused, Denied, NotOpen, Position, TransactionFailed
from tests.delivery.fakes import (
    KINDS,
    Bench,
    Ending,
    FakeLog,
    FakeRecord,
    committing,
    known,
    later,
    lookup,
    soon,
    source,
)


def listed(log: FakeLog) -> tuple[int | None, list[commit_metadata.Run]]:
    """The committed offset and the runs beside it."""
    return log.position.offset, commit_metadata.decode(log.position.offset or 0, log.position.metadata)


class Standing(FakeRecord):
    """A record that stands for all from one offset to another."""

    def __init__(self, first_offset: int, offset: int) -> None:
        super().__init__(offset, b"known")
        object.__setattr__(self, "first_offset", first_offset)


def held(bench: Bench) -> int:
    """Bytes that the lane believes it holds."""
    return bench.lane._held_bytes


pytestmark = pytest.mark.usefixtures("virtual_time")
Opens = Callable[..., Awaitable[Bench]]


@pytest.fixture(params=KINDS)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opens]:
    """Makes benches with open lanes of one kind, which are closed in the end."""
    benches: list[Bench] = []

    async def opened(log: FakeLog | None = None, **limits: Any) -> Bench:
        bench = Bench(log, KINDS[request.param], **limits)
        benches.append(bench)
        await bench.open()
        return bench

    yield opened
    for bench in benches:
        await bench.lane.close()


@pytest.fixture
async def bench(opened: Opens) -> Bench:
    return await opened()


# -- writing ------------------------------------------------------------------------------------------------


async def test_known_records_leave_at_once_in_one_transaction_with_their_offset(bench: Bench) -> None:
    """A chunk of known records is one transaction, in order, with the next offset and no metadata."""
    bench.lane.offer(known(0, 1, 2))
    await soon()
    assert bench.log.transactions == [([0, 1, 2], 3, "")]
    assert bench.observer.offsets == [0, 1, 2]
    assert not bench.lane.has_work
    assert held(bench) == 0


async def test_emails_leave_in_the_order_of_their_decisions(bench: Bench) -> None:
    """Answers are written as they come, known records before them; offsets do not matter."""
    bench.lane.offer([*lookup(0, 1, 2), *known(3)])
    await soon()
    bench.processor.answer(2)
    await soon()
    bench.processor.answer(0)
    bench.processor.answer(1)
    await soon()
    assert bench.log.offsets == [3, 2, 0, 1]


async def test_what_stands_for_many_records_is_settled_if_all_of_them_are(opened: Opens) -> None:
    """A predecessor wrote the last ones of a batch, which then was damaged: the others still count."""
    log = FakeLog()
    log.position = Position(0, commit_metadata.encode(0, [(2, 3), (5, 8)]))
    bench = await opened(log)
    bench.lane.offer([Standing(0, 3), Standing(5, 8), *known(9)])
    await soon()
    assert bench.log.offsets == [3, 9]
    assert bench.observer.releases == {Release.SETTLED_BEFORE: 1}
    assert bench.log.position == Position(10, "")


async def test_a_waiting_record_holds_back_only_itself(bench: Bench) -> None:
    """Everything behind a waiting record is written and listed; the committed offset stays at it."""
    bench.lane.offer([*known(0), *lookup(1), *known(2, 3, 4)])
    await soon()
    assert bench.log.offsets == [0, 2, 3, 4]
    assert listed(bench.log) == (1, [(2, 4)])
    assert bench.lane.awaiting_lookup == 1
    bench.lane.offer(known(5))
    await soon()
    assert bench.log.offsets == [0, 2, 3, 4, 5]
    bench.processor.answer(1)
    await soon()
    assert bench.log.offsets[-1] == 1
    assert bench.log.position == Position(6, "")
    assert held(bench) == 0


async def test_what_is_decided_during_a_transaction_goes_into_the_next(bench: Bench) -> None:
    """While one transaction is under way decisions gather; one transaction takes them all."""
    under_way = await committing(bench)
    bench.lane.offer(known(1))
    bench.lane.offer(known(2, 3))
    await soon()
    assert bench.transactions.attempts == 1
    under_way.set_result(Ending.DONE)
    await soon()
    assert [offsets for offsets, _, _ in bench.log.transactions] == [[0], [1, 2, 3]]


async def test_a_record_that_asks_for_nothing_moves_the_offset_only(bench: Bench) -> None:
    """A result without a record to write is settled and counted like any other."""
    bench.lane.offer([FakeRecord(0, None), *known(1), FakeRecord(2, None)])
    await soon()
    assert bench.log.transactions == [([1], 3, "")]
    assert bench.observer.outcomes == [("tombstone",), ("email",), ("tombstone",)]


async def test_an_idle_lane_begins_no_transaction(bench: Bench) -> None:
    """Without work there is no transaction, for however long."""
    await asyncio.sleep(3600)
    assert bench.transactions.attempts == 0
    bench.lane.offer(lookup(0))
    await asyncio.sleep(3600)
    assert bench.transactions.attempts == 0


async def test_gaps_in_the_log_count_as_settled(bench: Bench) -> None:
    """Offsets that the log skips are never waited for."""
    bench.lane.offer([*known(3), *lookup(7), *known(12)])
    await soon()
    assert listed(bench.log) == (7, [(8, 12)])
    bench.processor.answer(7)
    await soon()
    assert bench.log.position == Position(13, "")


async def test_a_jump_of_the_log_beyond_every_span_is_followed(bench: Bench) -> None:
    """Where retention deleted millions of offsets, the lane goes on at what is there."""
    first = 3 * commit_metadata.MAX_SPAN
    bench.lane.offer([*lookup(first), *known(first + 1)])
    await soon()
    assert listed(bench.log) == (first, [(first + 1, first + 1)])
    bench.lane.offer(known(first + commit_metadata.MAX_SPAN))
    await soon()
    assert bench.log.offsets == [first + 1], "a distance that the metadata has no room for was taken"
    bench.processor.answer(first)
    await asyncio.sleep(0.1)
    assert bench.log.offsets == [first + 1, first, first + commit_metadata.MAX_SPAN]


# -- opening, and reading again -----------------------------------------------------------------------------


async def test_a_successor_skips_what_the_metadata_lists(opened: Opens) -> None:
    """A new lane writes what was waiting, and nothing that its predecessor wrote."""
    first = await opened()
    first.lane.offer([*lookup(0), *known(1, 2), *lookup(3), *known(4)])
    await soon()
    await first.lane.close()
    second = await opened(first.log)
    second.lane.offer(known(0, 1, 2, 3, 4, 5))
    await soon()
    assert first.log.offsets == [1, 2, 4, 0, 3, 5]
    assert first.log.position == Position(6, "")


async def test_the_predecessors_runs_outlive_a_successor_that_did_not_reach_them(opened: Opens) -> None:
    """A chain of lanes that each get one record further loses no run and doubles no record."""
    log = FakeLog()
    bench = await opened(log)
    bench.lane.offer([*lookup(0, 1, 2, 3), *known(4, 5), *lookup(6), *known(7)])
    await soon()
    await bench.lane.close()
    for offset in (0, 1, 2, 3):
        bench = await opened(log)
        bench.lane.offer(known(offset))
        await soon()
        await bench.lane.close()
    bench = await opened(log)
    bench.lane.offer(known(4, 5, 6, 7, 8))
    await soon()
    assert log.offsets == [4, 5, 7, 0, 1, 2, 3, 6, 8]
    assert log.position == Position(9, "")


async def test_records_read_again_after_a_seek_are_skipped(bench: Bench) -> None:
    """Records that the lane has taken, waiting or written, are not taken twice."""
    bench.lane.offer([*known(0), *lookup(1), *known(2)])
    await soon()
    bench.lane.offer([*known(0), *lookup(1), *known(2, 3)])
    await soon()
    assert bench.processor.asked == [0, 1, 2, 3]
    bench.processor.answer(1)
    await soon()
    assert bench.log.offsets == [0, 2, 3, 1]
    assert held(bench) == 0


async def test_unreadable_metadata_is_counted_and_the_records_are_done_again(opened: Opens) -> None:
    """Nothing is skipped by guess: what lies behind the committed offset is written again."""
    log = FakeLog(position=Position(1, "cs9.from.the.future"))
    bench = await opened(log)
    assert bench.observer.refusals == 1
    bench.lane.offer(known(0, 1, 2))
    await soon()
    assert log.offsets == [1, 2]
    assert log.position == Position(3, "")


async def test_a_first_lane_pins_where_it_begins() -> None:
    """Where the group has committed nothing, the beginning is committed before any record."""
    log = FakeLog(position=Position(None, ""))
    bench = Bench(log)
    await bench.open(beginning=40)
    assert log.position == Position(40, "")
    bench.lane.offer(known(40))
    await soon()
    assert log.position == Position(41, "")
    await bench.lane.close()


async def test_transactions_that_cannot_open_say_so() -> None:
    """Opening a lane raises what the transactions raise; closing it afterwards is fine."""
    bench = Bench()
    bench.transactions.opens += [Ending.FAILED, Ending.DENIED]
    with pytest.raises(TransactionFailed):
        await bench.open()
    with pytest.raises(Denied):
        await bench.open()
    await bench.lane.close()
    assert bench.transactions.closed


# -- bugs and other bad records -----------------------------------------------------------------------------


async def test_a_processor_that_raises_costs_only_that_record(bench: Bench) -> None:
    """A record on which our code fails becomes a dead letter (internal error); its neighbours get emails."""
    bench.processor.bugs = {1}
    bench.lane.offer(known(0, 1, 2))
    await soon()
    assert sorted((source(record), record.topic) for record in bench.log.written) == [
        (0, "confirmation-emails"),
        (1, "actions.dlq"),
        (2, "confirmation-emails"),
    ]
    assert bench.processor.faults == [(1, "ZeroDivisionError")]
    assert bench.log.position == Position(3, "")
    assert not bench.crashes


async def test_an_answer_that_is_an_error_or_cannot_be_concluded_is_a_fault(bench: Bench) -> None:
    """An exception, a cancellation, or a bug in our conclusion: a dead letter with class internal error."""
    bench.lane.offer(lookup(0, 1, 2, 3))
    await soon()
    bench.processor.answers[0].set_exception(ValueError())
    bench.processor.answers[1].cancel()
    bench.processor.answer(2, found=b"bug")
    bench.processor.answer(3)
    await soon()
    assert bench.processor.faults == [(0, "ValueError"), (1, "CancelledError"), (2, "ZeroDivisionError")]
    assert bench.log.offsets == [0, 1, 2, 3]


@pytest.mark.parametrize("waiting", [False, True])
async def test_when_even_the_dead_letter_fails_the_lane_stops_and_passes_nothing(
    bench: Bench, waiting: bool
) -> None:
    """The last resort failing crashes once; no commit passes the record, and the caller sees no exception."""
    bench.processor.hopeless = True
    if waiting:
        bench.lane.offer([*lookup(0), *known(1)])
        await soon()
        bench.processor.answer(0, found=b"bug")
    else:
        bench.processor.bugs = {0}
        bench.lane.offer(known(0, 1))
    await soon()
    assert [type(exc) for exc in bench.crashes] == [RecursionError]
    assert bench.log.position.offset == 0
    assert 0 not in bench.log.offsets


async def test_a_processor_that_says_not_now_is_asked_again_by_itself(bench: Bench) -> None:
    """Without any other event the record is offered again within ASK_AGAIN seconds, in its order."""
    bench.processor.not_now = True
    bench.lane.offer(known(0, 1))
    await asyncio.sleep(0.5)
    assert set(bench.processor.asked) == {0}
    assert bench.log.position == Position(0, "")
    bench.processor.not_now = False
    await asyncio.sleep(Lane.ASK_AGAIN + 0.001)
    assert bench.log.offsets == [0, 1]


@pytest.mark.parametrize(("answers", "seconds"), [(2, LaneLimits().gather), (3, 0.0)], ids=["few", "half"])
async def test_answers_gather_while_a_record_waits_for_room_for_its_lookup(
    bench: Bench, answers: int, seconds: float
) -> None:
    """They are one transaction, after some time, or once half of the lookups pending have ended."""
    bench.lane.offer(lookup(*range(6)))
    bench.processor.no_room = True
    bench.lane.offer(lookup(6))
    await soon()
    for offset in range(answers):
        assert bench.log.offsets == []
        bench.processor.answer(offset)
        await soon()
    await asyncio.sleep(seconds)
    assert [offsets for offsets, _, _ in bench.log.transactions] == [[*range(answers)]]
    assert bench.processor.asked[-1] == 6


async def test_without_a_record_that_waits_for_room_each_answer_leaves_at_once(bench: Bench) -> None:
    """Once the record has its lookup, answers no longer gather."""
    bench.lane.offer(lookup(*range(6)))
    bench.processor.no_room = True
    bench.lane.offer(lookup(6))
    await soon()
    bench.processor.no_room = False
    await asyncio.sleep(LaneLimits().gather + 0.001)
    bench.processor.answer(4)
    await soon()
    assert bench.log.offsets == [4]


async def test_a_record_too_large_for_its_topic_is_replaced_once(opened: Opens) -> None:
    """Its neighbours are written as they are, it is refused once, and everything is one transaction."""
    log = FakeLog(limits={"confirmation-emails": 10})
    bench = await opened(log)
    bench.lane.offer([FakeRecord(0, None), *known(1), FakeRecord(2, b"x" * 11), *known(3)])
    await soon()
    assert [(record.topic, record.value) for record in log.written] == [
        ("confirmation-emails", b"known"),
        ("actions.dlq", b"refused"),
        ("confirmation-emails", b"known"),
    ]
    assert bench.processor.refused == [2]
    assert bench.observer.offsets == [0, 1, 2, 3]
    assert bench.observer.failures == []
    assert held(bench) == 0


async def test_after_a_time_out_the_next_transactions_are_smaller(opened: Opens) -> None:
    """A quota that lets no large transaction end in time delays emails; once it is gone they grow again."""
    log = FakeLog(most=40)
    bench = await opened(log)
    offered = [*known(*range(500)), *lookup(500), *known(*range(501, 1_000))]
    bench.lane.offer(offered)
    await asyncio.sleep(60)
    assert sorted(log.offsets) == [*range(500), *range(501, 1_000)]
    assert listed(log) == (500, [(501, 999)])
    assert set(bench.observer.failures) == {"TimeoutError"}
    log.most = None
    bench.processor.answer(500)
    bench.lane.offer(known(*range(1_000, 1_400)))
    await soon()
    await asyncio.sleep(1)
    assert log.position == Position(1_400, "")
    assert sorted(log.offsets) == list(range(1_400))
    assert max(len(offsets) for offsets, *_ in log.transactions) > 40
    assert held(bench) == 0


async def test_a_small_transaction_whose_metadata_would_not_fit_is_larger(
    opened: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the metadata has no room to note what was left out, more is written."""
    monkeypatch.setattr(transaction_size, "METADATA_CAP", 40)
    log = FakeLog(most=20)
    bench = await opened(log)
    bench.lane.offer([record for first in range(0, 200, 2) for record in (*lookup(first), *known(first + 1))])
    await asyncio.sleep(60)
    assert log.transactions == []  # all fifty gaps must be noted
    log.most = None
    await asyncio.sleep(60)
    bench.processor.answer(*range(0, 200, 2))
    await soon()
    assert log.position == Position(200, "")
    assert sorted(log.offsets) == list(range(200))


async def test_a_refused_batch_is_tried_again_at_once(bench: Bench) -> None:
    """Each try halves it, so there is nothing to wait for; everything is written once."""
    bench.transactions.commits.extend([Ending.BATCH_REFUSED] * 12)
    bench.lane.offer(known(0, 1, 2))
    await soon()
    assert bench.log.offsets == [0, 1, 2]
    assert bench.observer.failures == ["InvalidRecordError"] * 12


async def test_a_topic_that_refuses_even_a_bare_notice_is_waited_for(opened: Opens) -> None:
    """That is the topic's fault: the lane says so, loses nothing, and goes on when it is mended."""
    log = FakeLog(limits={"confirmation-emails": 10, "actions.dlq": 2})
    bench = await opened(log)
    bench.lane.offer([*known(0), FakeRecord(1, b"x" * 11), *known(2)])
    await asyncio.sleep(60)
    assert bench.crashes == []
    assert log.written == []
    assert bench.observer.failures[-1] == "DeadLetterRefused"
    assert bench.lane.commit_failure == "topic actions.dlq refuses even a dead letter of a few hundred bytes"
    log.limits.clear()
    await asyncio.sleep(10)
    assert log.offsets == [0, 1, 2]
    assert bench.lane.commit_failure is None
    assert held(bench) == 0


# -- transactions that fail
# -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.ANSWER_LOST])
async def test_an_unknown_result_is_looked_up_and_all_is_written_once(bench: Bench, ending: Ending) -> None:
    """Whether the transaction took effect or not, its records, and those after them, are there once."""
    bench.transactions.commits.append(ending)
    bench.lane.offer([*lookup(0), *known(1, 2)])
    await soon()
    bench.lane.offer(known(3))
    bench.processor.answer(0)
    await soon()
    assert sorted(bench.log.offsets) == [0, 1, 2, 3]
    assert sorted(bench.observer.offsets) == [0, 1, 2, 3]
    assert bench.log.position == Position(4, "")
    assert len(bench.observer.failures) == 1
    assert bench.lane.commit_failure is None
    assert held(bench) == 0


async def test_transactions_that_fail_are_tried_with_backoff_and_the_failure_shows(opened: Opens) -> None:
    """Attempts space out up to the limit, the failure is visible until it ends, and nothing is doubled."""
    bench = await opened(backoff=0.1, backoff_most=5.0)
    bench.transactions.commits.append(Ending.FAILED)
    bench.transactions.opens += [Ending.FAILED] * 20
    loop = asyncio.get_running_loop()
    began = loop.time()
    bench.lane.offer(known(0))
    await soon()
    assert bench.lane.commit_failure == "Down"
    while bench.lane.commit_failure:
        await asyncio.sleep(0.5)
        assert bench.lane.stalled_for <= 5.0, "a lane that tries is not stuck"
        bench.lane.offer([])
    assert 60 < loop.time() - began < 100
    assert bench.observer.failures == ["Failed"] + ["Down"] * 20
    assert bench.log.offsets == [0]


async def test_backoff_begins_anew_after_a_success(opened: Opens) -> None:
    """A later failure is not punished for an earlier one: the first reopening is at once."""
    bench = await opened(backoff=10.0, backoff_most=60.0)
    for offset in range(3):
        bench.transactions.commits.append(Ending.FAILED)
        bench.lane.offer(known(offset))
        await soon()
    assert bench.log.offsets == [0, 1, 2]


async def test_records_taken_while_kafka_is_down_are_written_afterwards(bench: Bench) -> None:
    """Processing goes on during an outage: nothing is lost, doubled, or out of order."""
    bench.transactions.commits.append(Ending.ANSWER_LOST)
    bench.transactions.opens += [Ending.FAILED] * 3
    bench.lane.offer(known(0))
    await soon()
    bench.lane.offer([*known(1), *lookup(2), *known(3)])
    await soon()
    bench.processor.answer(2)
    await asyncio.sleep(10)
    assert bench.log.offsets == [0, 1, 3, 2]


async def test_what_the_broker_refuses_for_its_content_makes_nobody_wait() -> None:
    """However many batches were refused in a row, the transactions are opened again at once."""
    limits = LaneLimits()
    for failure in (BatchRefused("InvalidRecordError"), NotOpen()):
        assert limits.pause_after(failure, 9) == 0
    assert limits.pause_after(TransactionFailed("KafkaError"), 9) == limits.backoff_most


async def test_a_failed_attempt_is_not_forgotten_when_it_comes_to_closing(opened: Opens) -> None:
    """Closed during an outage, the lane leaves everything to its successor, which writes it once."""
    bench = await opened(backoff=60.0)
    bench.transactions.commits += [Ending.FAILED]
    bench.transactions.opens += [Ending.FAILED] * 2
    bench.lane.offer(known(0, 1))
    await soon()
    await bench.lane.close()
    assert bench.log.offsets == []
    successor = await opened(bench.log)
    successor.lane.offer(known(0, 1))
    await soon()
    assert bench.log.offsets == [0, 1]


async def test_fenced_then_closed_writes_nothing_more(opened: Opens) -> None:
    """A lane whose partition moved waits, takes no new epoch, and goes in peace."""
    bench = await opened(fence_patience=4.0)
    successor = await opened(bench.log)
    bench.lane.offer(known(0))
    await asyncio.sleep(3.9)
    epoch = bench.log.epoch
    await bench.lane.close()
    assert bench.log.epoch == epoch
    assert bench.log.offsets == []
    assert bench.observer.failures == ["ProducerFenced"]
    successor.lane.offer(known(0))
    await soon()
    assert bench.log.offsets == [0]


async def test_fenced_and_still_ours_reopens_after_its_patience(opened: Opens) -> None:
    """When no rebalance explains the fencing in time, the lane takes its partition back and goes on."""
    bench = await opened(fence_patience=4.0)
    bench.log.epoch += 1
    bench.lane.offer(known(0))
    await asyncio.sleep(3.9)
    assert bench.log.offsets == []
    assert bench.lane.commit_failure == "ProducerFenced"
    await asyncio.sleep(0.2)
    assert bench.log.offsets == [0]
    assert bench.lane.commit_failure is None


async def test_only_what_the_log_lacks_is_written_after_somebody_else_progressed(opened: Opens) -> None:
    """Records that another lane wrote meanwhile are dropped, waiting ones too; ours are kept."""
    first = await opened(fence_patience=1.0)
    first.lane.offer(lookup(0, 1, 2, 3))
    await soon()
    second = await opened(first.log)
    second.lane.offer([*known(0), *lookup(1), *known(2), *lookup(3)])
    await soon()
    assert listed(first.log) == (1, [(2, 2)])
    first.processor.answer(0)
    first.processor.answer(1)
    first.lane.offer(known(4))
    await asyncio.sleep(1.1)
    assert first.log.offsets == [0, 2, 4, 1]  # 4 was decided before the answers were seen
    assert listed(first.log) == (3, [(4, 4)])
    first.processor.answer(2)  # the second lane wrote this one: its late answer changes nothing
    first.processor.answer(3)
    await soon()
    assert first.log.offsets == [0, 2, 4, 1, 3]
    assert first.log.position == Position(5, "")
    assert held(first) == 0
    assert not first.lane.has_work


async def test_two_lanes_that_both_believe_in_themselves_double_nothing(opened: Opens) -> None:
    """Taking the partition from each other for a while, they still write each record once."""
    log = FakeLog()
    one = await opened(log, fence_patience=1.0)
    two = await opened(log, fence_patience=1.5)
    for offset in range(20):
        one.lane.offer(known(offset))
        two.lane.offer(lookup(offset))
        await asyncio.sleep(0.7)
        two.processor.answer(offset)
        await asyncio.sleep(0.7)
    await asyncio.sleep(10)
    assert sorted(log.offsets) == list(range(20))
    assert held(one) == held(two) == 0


@pytest.mark.parametrize("ending", [Ending.DENIED, Ending.FAILED], ids=["commit", "reopening"])
async def test_a_refusal_by_access_rules_crashes_once(bench: Bench, ending: Ending) -> None:
    """Denied, on a commit or on reopening, is reported once, and nothing more is written."""
    bench.transactions.commits.append(ending)
    bench.transactions.opens.append(Ending.DENIED)
    bench.lane.offer(known(0))
    await soon()
    bench.lane.offer(known(1))
    await asyncio.sleep(60)
    assert [type(exc) for exc in bench.crashes] == [Denied]
    assert bench.lane.commit_failure == "Denied"
    assert bench.log.offsets == []
    await bench.lane.close()
    assert len(bench.crashes) == 1


async def test_a_bug_in_the_transactions_or_the_observer_crashes_once(bench: Bench) -> None:
    """An exception that nobody foresaw is reported, not retried for ever."""
    broken = later()
    broken.set_exception(KeyError())
    bench.transactions.commits.append(broken)
    bench.lane.offer(known(0))
    await soon()
    assert [type(exc) for exc in bench.crashes] == [KeyError]


# -- closing ------------------------------------------------------------------------------------------------


async def test_closing_with_grace_waits_for_answers_and_writes_them(bench: Bench) -> None:
    """Answers within the grace are written, the rest is left; closing takes no longer than needed."""
    bench.lane.offer(lookup(0, 1, 2))
    await soon()
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, bench.processor.answer, 1)
    loop.call_later(2.0, bench.processor.answer, 0)
    loop.call_later(9.0, bench.processor.answer, 2)
    began = loop.time()
    await bench.lane.close(grace=5.0)
    assert 5.0 <= loop.time() - began < 5.5
    assert bench.log.offsets == [1, 0]
    assert bench.log.position == Position(2, "")
    await asyncio.sleep(10)
    assert bench.log.offsets == [1, 0]


async def test_closing_with_grace_ends_with_the_last_answer(bench: Bench) -> None:
    """When nothing waits any more the lane does not sit out its grace."""
    bench.lane.offer(lookup(0))
    await soon()
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, bench.processor.answer, 0)
    began = loop.time()
    await bench.lane.close(grace=60.0)
    assert loop.time() - began < 1.5
    assert bench.log.offsets == [0]


async def test_closing_without_grace_leaves_what_waits_to_the_successor(bench: Bench) -> None:
    """Results that are ready are committed, other records are not; late answers change nothing."""
    bench.lane.offer([*lookup(0), *known(1), *lookup(2)])
    await bench.lane.close()
    assert bench.log.offsets == [1]
    assert listed(bench.log) == (0, [(1, 1)])
    bench.processor.answer(0)
    bench.processor.answers[2].cancel()
    await soon()
    assert bench.log.offsets == [1]
    assert bench.processor.faults == [], "a lookup cancelled at the end is no fault of ours"
    assert bench.transactions.closed


async def test_nothing_is_taken_after_closing(bench: Bench) -> None:
    """Records offered later are dropped, unjudged: the partition's next owner reads them."""
    await bench.lane.close()
    bench.lane.offer(known(0))
    await soon()
    assert not bench.lane.accepts
    assert bench.processor.asked == []
    assert bench.log.offsets == []
    assert not bench.lane.has_work


@pytest.mark.parametrize("where", ["commit", "open"])
async def test_closing_while_a_transaction_hangs_ends_within_its_limit(opened: Opens, where: str) -> None:
    """A commit that never returns is given up after close_within seconds."""
    bench = await opened(close_within=4.0)
    bench.transactions.commits.append(later() if where == "commit" else Ending.FAILED)
    bench.transactions.opens.append(later())
    bench.lane.offer(known(0))
    await soon()
    began = asyncio.get_running_loop().time()
    await bench.lane.close()
    assert 4.0 <= asyncio.get_running_loop().time() - began < 5.1
    assert bench.transactions.closed
    assert bench.log.offsets == []


async def test_closing_after_a_failed_transaction_writes_nothing_more(bench: Bench) -> None:
    """What gathered behind it is the successor's too: a commit of it would pass what was not written."""
    under_way = await committing(bench)
    bench.lane.offer(known(1))
    closing = asyncio.create_task(bench.lane.close())
    await soon()
    under_way.set_result(Ending.FAILED)
    await closing
    assert (bench.log.offsets, bench.log.position) == ([], Position(0, ""))
    assert bench.observer.releases == {Release.HANDED_OVER: 2}


async def test_closing_during_a_transaction_lets_it_end_and_writes_what_gathered(bench: Bench) -> None:
    """The transaction under way and the decisions behind it are both made lasting."""
    under_way = await committing(bench)
    bench.lane.offer(known(1))
    asyncio.get_running_loop().call_later(1.0, under_way.set_result, Ending.DONE)
    await bench.lane.close()
    assert bench.log.offsets == [0, 1]


# -- how much it holds --------------------------------------------------------------------------------------


async def test_a_full_inbox_accepts_no_further_chunk_until_there_is_room(opened: Opens) -> None:
    """At its limit of uncommitted records the lane processes no more; its inbox fills, and empties again."""
    bench = await opened(uncommitted=4, inbox=3)
    under_way = await committing(bench)
    bench.lane.offer(known(1, 2, 3, 4, 5))
    assert bench.processor.asked == [0, 1, 2, 3]
    assert bench.lane.uncommitted == 4
    assert bench.lane.accepts
    bench.lane.offer(known(6))
    assert not bench.lane.accepts
    under_way.set_result(Ending.DONE)
    await asyncio.sleep(0.1)
    assert bench.lane.accepts
    assert bench.log.offsets == list(range(7))
    assert all(len(offsets) <= 4 for offsets, _, _ in bench.log.transactions)


async def test_the_oldest_record_is_known_wherever_it_waits(opened: Opens) -> None:
    """Whether it waits for its answer or a transaction, or is in one: the earliest timestamp shows."""
    start = 1_764_000_000_000
    bench = await opened(uncommitted=4)
    assert bench.lane.oldest_timestamp_ms is None
    bench.transactions.commits.append(under_way := later())
    bench.lane.offer([FakeRecord(0, b"lookup", timestamp=start + 50), FakeRecord(1, timestamp=start + 60)])
    await soon()
    assert bench.lane.oldest_timestamp_ms == start + 50  # its lookup; the other is in a transaction
    bench.processor.answer(0)
    bench.lane.offer([FakeRecord(number, timestamp=start + 60 + number) for number in range(2, 6)])
    assert bench.lane.oldest_timestamp_ms == start + 50  # it waits for the next transaction
    assert bench.lane.committed == 0
    under_way.set_result(Ending.DONE)
    bench.transactions.commits.append(second := later())
    await soon()
    assert bench.lane.oldest_timestamp_ms == start + 50  # it is in it
    second.set_result(Ending.DONE)
    await asyncio.sleep(0.1)
    assert bench.lane.oldest_timestamp_ms is None
    assert bench.lane.committed == 6


async def test_bytes_held_are_limited_and_given_back(opened: Opens) -> None:
    """The lane holds no more than the limit and one record; every way of settling gives bytes back."""
    bench = await opened(uncommitted_bytes=1000, inbox=3)
    big = [FakeRecord(offset, b"lookup" + b"x" * 594) for offset in range(5)]
    bench.lane.offer(big)
    await soon()
    assert bench.processor.asked == [0, 1]
    assert held(bench) == 1200
    assert not bench.lane.accepts
    for offset in range(5):
        bench.processor.answer(offset)
        await asyncio.sleep(0.1)
    assert bench.log.offsets == [0, 1, 2, 3, 4]
    assert bench.lane.accepts
    assert held(bench) == 0


async def test_one_record_beyond_the_byte_limit_still_passes(opened: Opens) -> None:
    """A limit smaller than a single record slows down; it does not stop."""
    bench = await opened(uncommitted_bytes=1)
    bench.lane.offer(known(0, 1, 2))
    await asyncio.sleep(0.2)
    assert bench.log.offsets == [0, 1, 2]


async def test_pending_lookups_are_limited_to_what_the_metadata_can_list(bench: Bench) -> None:
    """A processor that asks without end is stopped; the commits fit the broker's cap (the fake checks)."""
    chunk = [
        FakeRecord(n, b"known" if n % 2 else b"lookup") for n in range(2 * commit_metadata.MAX_AWAITING + 9)
    ]
    bench.lane.offer(chunk)
    await soon()
    assert bench.lane.awaiting_lookup == commit_metadata.MAX_AWAITING + 1
    assert len(listed(bench.log)[1]) == commit_metadata.MAX_AWAITING
    asked = len(bench.processor.asked)
    bench.processor.answer(0)
    await asyncio.sleep(0.1)
    assert len(bench.processor.asked) == asked + 2
    assert bench.lane.awaiting_lookup == commit_metadata.MAX_AWAITING + 1


async def test_known_records_pass_while_as_many_lookups_as_may_be_are_pending(bench: Bench) -> None:
    """With every place for lookups taken, an email that needs none still leaves at once."""
    bench.lane.offer(lookup(*range(commit_metadata.MAX_AWAITING)))
    bench.lane.offer(known(commit_metadata.MAX_AWAITING, commit_metadata.MAX_AWAITING + 1))
    await soon()
    assert bench.log.offsets == [commit_metadata.MAX_AWAITING, commit_metadata.MAX_AWAITING + 1]


async def test_long_chunks_are_processed_in_slices(opened: Opens) -> None:
    """One offer processes no more than a slice before other tasks run; the rest follows by itself."""
    bench = await opened(uncommitted=100_000)
    bench.lane.offer(known(*range(3 * Lane.SLICE)))
    assert len(bench.processor.asked) == Lane.SLICE
    await soon()
    assert bench.log.offsets == list(range(3 * Lane.SLICE))


# -- what others see ----------------------------------------------------------------------------------------


async def test_a_lane_without_work_is_never_still(bench: Bench) -> None:
    """Idle for a day, then given work: the clock starts at the work."""
    await asyncio.sleep(86_400)
    assert bench.lane.stalled_for == 0.0
    bench.lane.offer(lookup(0))
    assert bench.lane.stalled_for == 0.0
    await asyncio.sleep(2.0)
    assert bench.lane.stalled_for == pytest.approx(2.0)
    bench.processor.answer(0)
    await soon()
    assert bench.lane.stalled_for == 0.0


async def test_a_lane_that_a_person_lets_go_on_has_not_been_stuck(bench: Bench) -> None:
    """While it is halted, and in the moment in which it goes on, /livez has no reason for a restart."""
    bench.processor.not_now, bench.processor.halted = True, "too many dead letters"
    bench.lane.offer(known(0))
    await asyncio.sleep(60)
    assert bench.lane.stalled_for == 0.0
    bench.processor.halted = None
    assert bench.lane.stalled_for <= 2 * Lane.ASK_AGAIN
    bench.processor.not_now = False
    await asyncio.sleep(1.0)
    assert bench.log.offsets == [0]


async def test_an_answer_that_never_comes_shows_although_others_progress(bench: Bench) -> None:
    """A lane whose committed offset does not move is still, however much it writes behind it."""
    bench.lane.offer(lookup(0))
    for offset in range(1, 31):
        await asyncio.sleep(1.0)
        bench.lane.offer(known(offset))
    await soon()
    assert len(bench.log.written) == 30
    assert bench.lane.stalled_for == pytest.approx(30.0, abs=0.1)


async def test_transactions_that_hang_show(bench: Bench) -> None:
    """A commit that neither ends nor fails makes the lane still: that is a bug, and a restart may help."""
    bench.transactions.commits.append(later())
    bench.lane.offer(known(0))
    await asyncio.sleep(100)
    assert bench.lane.stalled_for == pytest.approx(100.0)


async def test_a_broker_that_does_not_answer_has_its_whole_time(bench: Bench) -> None:
    """The seconds that a lookup took before count no more once its email is being committed."""
    bench.transactions.commits.append(later())
    bench.lane.offer(lookup(0))
    await asyncio.sleep(3.0)
    bench.processor.answer(0)
    await soon()
    await asyncio.sleep(2.0)
    assert bench.lane.stalled_for == pytest.approx(2.0, abs=0.1)
