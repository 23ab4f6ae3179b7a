"""Where each microsecond goes: what a worker reports becomes rows that add up to what the process took."""

from typing import Any

import pytest

from bench import microseconds


def _report(process: int, thread: int, stages: dict[str, int], actions: int) -> dict[str, Any]:
    return {"process": process, "threads": {"main": thread}, "stages": {"main": stages}, "actions": actions}


def test_rows_add_up_to_the_whole_process() -> None:
    """What no clock has seen is the event loops' in a thread with clocks, and other threads' beside it."""
    before = _report(5_000_000, 3_000_000, {"socket: send": 1_000_000}, 1_000)
    after = _report(9_000_000, 6_000_000, {"socket: send": 2_000_000, "C: the pass": 1_500_000}, 2_000)
    found = microseconds.rows(before, after)
    assert found == {
        "socket: send": 1.0,
        "C: the pass": 1.5,
        "event loops: select, timers, wake-ups": 0.5,
        "other threads: the store of statuses": 1.0,
    }
    assert sum(found.values()) == pytest.approx(4.0)


def test_turns_of_the_event_loop_are_put_together_by_what_they_are_for() -> None:
    """A coroutine of aiokafka's fetcher belongs to the consumer, and one that nobody named to the rest."""
    turns = {"Fetcher._fetcher": 2_000, "ChunkConsumer._deliver": 3_000, "LivePage._run": 1_000}
    found = microseconds.rows(_report(0, 0, {}, 0), _report(6_000, 6_000, turns, 1))
    assert found["consumer: fetch requests, records"] == 2.0
    assert found["Faust: hand over from thread to thread, and to the agent"] == 3.0
    assert found["the rest: what runs at times, and single calls"] == 1.0


def test_a_table_begins_with_what_takes_most_and_ends_with_all() -> None:
    """The medians of the rounds are shown, and beside their sum what a worker without clocks took."""
    rounds = [{"a": 1.0, "b": 3.0}, {"a": 1.2, "b": 3.0}, {"a": 5.0, "b": 3.0}]
    lines = list(microseconds.as_table(rounds, [4.0, 4.1, 9.0]))
    assert [line.split(" | ")[-1] for line in lines[2:4]] == ["b |", "a |"]
    assert lines[3].startswith("| 1.20 | 29%")
    assert lines[-1] == "| 4.20 | 100% | all; without clocks: 4.10 |"
