"""The figures as they are shown."""

import io

from rich.console import Console

from streams.sandbox.account import Delay, SeenEmail, SeenLookup, Tally
from streams.sandbox.demo.phases import Phase, script
from streams.sandbox.demo.table import figures, line
from streams.sandbox.lookup_service import Behaviour

PHASES = [Phase("healthy", Behaviour.HEALTHY, 7), Phase("refusing", Behaviour.REFUSING, 7)]


def tallies() -> list[Tally]:
    healthy, refusing = Tally(actions=11100), Tally(actions=2)
    for _ in range(11100):
        healthy.add(SeenEmail("id", "one_button", "known_subscribed"), Delay(0.0, 1.2345))
    refusing.add(SeenEmail("id", "two_button", "lookup_failed", SeenLookup("connect")), Delay(0.0, 0.01))
    refusing.add(SeenEmail("id", "two_button", "lookup_failed", SeenLookup("circuit_open")), Delay(0.0, 0.02))
    return [healthy, refusing]


def shown(current: int) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(figures(PHASES, tallies(), current))
    return console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO from above


def test_a_row_fits_on_80_columns():
    """Even large figures are shown in full on a terminal of 80 columns."""
    text = shown(1)
    assert "…" not in text
    row = next(each for each in text.splitlines() if each.startswith(" refusing"))
    assert row.split() == ["refusing", "2", "2", "–", "–", "–", "–", "2", "–", "10", "20", "–"]
    assert "11100 11100 11100" in text
    assert "connect 1, circuit_open 1" in text


def test_phases_to_come_are_not_shown():
    """The table ends with the phase under way."""
    assert "refusing" not in shown(0)


def test_a_line_says_everything():
    """Without a terminal, one line holds variants, reasons, causes and delays."""
    assert line(PHASES[1], tallies()[1]) == (
        "refusing  2 actions, 2 emails | delay p50 10 ms p99 20 ms (known supporters p99 – ms)"
        " | two_button/lookup_failed 2 | lookups failed: connect 1, circuit_open 1"
    )


def test_the_script_ends_healthy_and_shows_every_behaviour():
    """Every behaviour has a phase, the first and the last are healthy, and all fits into a minute."""
    phases = script()
    assert {phase.behaviour for phase in phases} == set(Behaviour)
    assert phases[0].behaviour is phases[-1].behaviour is Behaviour.HEALTHY
    assert sum(phase.seconds for phase in phases) <= 60
