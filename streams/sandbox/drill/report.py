"""The drill's result: tables for a person, and the same as JSON."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from streams.sandbox.drill.crowd import Group
from streams.sandbox.drill.figures import Delays, GroupFigures, Timeline
from streams.sandbox.drill.run import DEADLINE, RATE, ModeRun
from streams.sandbox.drill.verdict import GoalVerdict, all_held
from streams.sandbox.lookup_service import Behaviour

Runs = Mapping[Behaviour, ModeRun]

_SIGNS = {"closed": "○", "half_open": "◐", "open": "●"}
_EMAILS = "Confirmation emails while one organisation's CRM is dead"
_AS_IT_WAS = "The same actions through a consumer that awaits each lookup and stops at the first error"
_LEGEND = (
    "p50, p99, max: ms from the action's timestamp to a read_committed reader. Lookups: asked of the CRM.\n"
    "Breaker: the affected organisation's, a sign a second: ○ closed, ● open, ◐ half-open at times."
)


def show(console: Console, runs: Runs, verdicts: Sequence[GoalVerdict]) -> None:
    """Print the tables and the verdicts."""
    stack = Stack(
        Text(_EMAILS, style="bold"),
        _emails(runs),
        Text(_LEGEND, style="dim"),
        Text(),
        Text(_AS_IT_WAS, style="bold"),
        _as_it_was(runs),
        *[_line(verdict) for verdict in verdicts],
    )
    if not console.is_terminal:  # a pipe has no width: nothing is wrapped or cut
        console.width = console.measure(stack, options=console.options.update(max_width=10_000)).maximum
    console.print(stack)


def document(runs: Runs, verdicts: Sequence[GoalVerdict], affected: int) -> dict[str, Any]:
    """The same as JSON can hold it. Delays and times in seconds, null where there is none."""
    return {
        "actions": affected,
        "rate": RATE,
        "deadline": DEADLINE,
        "cores": os.cpu_count(),
        "modes": {str(mode): _mode(run) for mode, run in runs.items()},
        "verdicts": [verdict._asdict() for verdict in verdicts],
        "held": all_held(verdicts),
    }


def _mode(run: ModeRun) -> dict[str, Any]:
    found = run.figures
    return {
        "groups": {str(group): asdict(each) for group, each in found.groups.items()},
        "seconds": run.seconds,
        "uncalled": found.uncalled,
        "actions_to_reader": asdict(found.own),
        "affected_until_open": asdict(found.until_open.affected),
        "known_until_open": asdict(found.until_open.known),
        "affected_once_open": asdict(found.once_open.affected),
        "known_once_open": asdict(found.once_open.known),
        "asked": run.asked._asdict(),
        "failed_exchanges": run.failed_exchanges,
        "breaker": [{"at": at, "state": state} for at, state in run.breaker],
        "as_it_was": {
            "sent": {str(group): run.naive.sent[group] for group in Group},
            "never_sent": {str(group): _never(run, group) for group in Group},
            "ended": run.naive.ended,
        },
    }


def _emails(runs: Runs) -> Table:
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    for head in ("CRM", "group"):
        table.add_column(head, no_wrap=True)
    for head in ("actions", "emails", "missing", "doubled", "p50", "p99", "max", "lookups"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("breaker", no_wrap=True)
    for mode, run in runs.items():
        for group, each in run.figures.groups.items():
            first = group is Group.AFFECTED
            table.add_row(
                str(mode) if first else "",
                str(group),
                *_counts(each),
                *_delays(each.delays),
                _lookups(run, group),
                strip(run.breaker, run.seconds) if first else "",
                end_section=group is Group.KNOWN,
            )
    return table


def _as_it_was(runs: Runs) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("CRM", no_wrap=True)
    for head in ("emails sent", "affected without", "others without"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("ended by", no_wrap=True)
    for mode, run in runs.items():
        affected, *others = (_never(run, group) for group in Group)
        numbers = [f"{number:,}" for number in (run.naive.sent.total(), affected, sum(others))]
        table.add_row(str(mode), *numbers, run.naive.ended)
    return table


def _never(run: ModeRun, group: Group) -> int:
    return run.figures.groups[group].actions - run.naive.sent[group]


def _counts(each: GroupFigures) -> list[str | Text]:
    bad = [Text(f"{count:,}", style="bold red" if count else "") for count in (each.missing, each.doubled)]
    return [f"{each.actions:,}", f"{each.emails:,}", *bad]


def _delays(delays: Delays) -> list[str]:
    return ["–" if each is None else f"{each * 1000:,.0f}" for each in (delays.p50, delays.p99, delays.most)]


def _lookups(run: ModeRun, group: Group) -> str:
    """As the CRM counted them; where nobody listens, as the worker did."""
    match group:
        case Group.AFFECTED:
            return f"{run.failed_exchanges if run.asked.affected is None else run.asked.affected:,}"
        case Group.HEALTHY:
            return f"{run.asked.healthy:,}"
        case Group.KNOWN:
            return "0"


def strip(timeline: Timeline, seconds: float) -> str:
    """The states as signs, one a second: half-open if it ever was so in it, else as it ended."""
    signs = ""
    state = "closed"
    for second in range(math.ceil(seconds)):
        within = [each for at, each in timeline if second <= at < second + 1]
        state = within[-1] if within else state
        signs += _SIGNS["half_open" if "half_open" in within else state]
    return signs


def _line(verdict: GoalVerdict) -> Text:
    line = Text(
        "held    " if verdict.held else "missed  ", style="bold green" if verdict.held else "bold red"
    )
    line.append(f"{verdict.goal}\n        {verdict.detail}", style="default not bold")
    return line
