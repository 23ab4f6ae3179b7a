"""Live on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from streams.sandbox.account import Delay, SeenEmail, Tally
from streams.sandbox.demo.phases import script
from streams.sandbox.demo.view import LiveView, View, open_view

PHASES = script(7, 0)


def some_tallies() -> list[Tally]:
    tallies = [Tally() for _ in PHASES]
    tallies[0].actions = 1
    tallies[0].add(SeenEmail("id", "one_button", "known_subscribed"), Delay(0.0, 0.012))
    return tallies


def terminal(file: io.StringIO) -> Console:
    return Console(file=file, force_terminal=True, width=80, height=40, _environ={"TERM": "xterm"})


def test_the_view_fits_where_the_output_goes():
    """A terminal gets the live view; a file, and a terminal that cannot move its cursor, plain lines."""
    assert type(open_view(terminal(io.StringIO()))) is LiveView
    assert type(open_view(Console(file=io.StringIO()))) is View
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert type(open_view(dumb)) is View


def test_a_live_view_says_what_it_does_and_how_long_it_takes():
    """Steps, the phase under way with the time that is left, and a table that stays."""
    output = io.StringIO()
    view = open_view(terminal(output))
    with view.step("Starting Apache Kafka") as told:
        told("downloading")
    view.phase(PHASES[0])
    view.running(PHASES, some_tallies(), 0, 5.0)
    view.ended(PHASES[0], some_tallies()[0])
    assert "Lookup service: healthy (answers at once), 5 s more; 47 s to the end." in output.getvalue()
    view.final(PHASES, some_tallies())
    text = output.getvalue()
    assert "✓ Starting Apache Kafka" in text
    assert "refusing" in text  # the last table has every phase
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor is shown again


def test_a_plain_view_writes_whole_lines_without_control_codes():
    """A step is told at its start, a phase when it begins, on the way, and at its end."""
    output = io.StringIO()
    view = open_view(Console(file=output))
    with view.step("Starting Apache Kafka") as told:
        told("this comes too soon to be worth a line")
    view.phase(PHASES[0])
    view.running(PHASES, some_tallies(), 0, 5.0)
    view.ended(PHASES[0], some_tallies()[0])
    assert output.getvalue().splitlines() == [
        "Starting Apache Kafka …",
        "Lookup service: healthy (answers at once), for 7 s",
        "  1 actions, 1 emails so far, 5 s more of healthy",
        "  healthy   1 actions, 1 emails | delay p50 12 ms p99 12 ms (known supporters p99 12 ms)"
        " | one_button/known_subscribed 1",
    ]


@pytest.mark.parametrize("kind", ["terminal", "file"])
def test_a_step_that_fails_is_not_told_to_be_done(kind: str):
    """What is interrupted gets no tick."""
    output = io.StringIO()
    view = open_view(terminal(output) if kind == "terminal" else Console(file=output))
    with pytest.raises(OSError, match="disk"), view.step("Starting Apache Kafka"):
        raise OSError("disk")
    assert "✓" not in output.getvalue()
    assert "done" not in output.getvalue()
