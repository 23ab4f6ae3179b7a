"""Schedules: the same seed, the same faults; what is written can be read."""

import pytest

from tests.chaos.schedule import KINDS, QUIET, draw, dump, load


def test_ten_minutes_hold_every_fault_and_one_window_in_four_is_quiet() -> None:
    """Whatever the seed, each kind comes, in order of time, within the time."""
    for seed in range(50):
        schedule = draw(seed, 600)
        kinds = [fault.kind for fault in schedule]
        assert set(kinds) == {*KINDS, QUIET}
        assert all((kind == QUIET) == (number % 4 == 3) for number, kind in enumerate(kinds))
        assert [fault.at for fault in schedule] == sorted(fault.at for fault in schedule)
        assert schedule[-1].at < 600


def test_a_seed_is_a_schedule() -> None:
    """The same seed draws the same schedule, another seed another."""
    assert draw(1, 600) == draw(1, 600)
    assert draw(1, 600) != draw(2, 600)


def test_a_written_schedule_reads_as_it_was() -> None:
    """JSON lines there and back."""
    schedule = draw(7, 600)
    assert load(dump(schedule)) == schedule


@pytest.mark.parametrize("line", ['{"at": 1, "kind": "flood", "pick": 0}', '{"at": 1}', "5"])
def test_a_line_that_is_no_fault_is_refused(line: str) -> None:
    """A typing error must not make a run without faults."""
    with pytest.raises(ValueError, match="no fault"):
        load(line)
