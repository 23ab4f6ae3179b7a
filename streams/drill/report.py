"""The drill's result: tables for a person, and the same as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from streams.demo.lookup_service import Behaviour
from streams.drill.crowd import Group
from streams.drill.figures import Delays, GroupFigures, Timeline, opened_at
from streams.drill.run import DEADLINE, RATE, ModeRun
from streams.drill.verdict import Verdict, all_held

Runs = Mapping[Behaviour, ModeRun]

_STRIP = {"closed": "○", "half_open": "◐", "open": "●"}
_STRIP_STEP = 0.5  # seconds


def show(console: Console, runs: Runs, verdicts: Sequence[Verdict]) -> None:
    """Print the tables and the verdicts."""
    stack = Stack(_emails(runs), _as_it_was(runs), *[_line(verdict) for verdict in verdicts])
    if not console.is_terminal:  # a pipe has no width: nothing is wrapped or cut
        console.width = console.measure(stack, options=console.options.update(max_width=10_000)).maximum
    console.print(stack)


def document(runs: Runs, verdicts: Sequence[Verdict], affected: int) -> dict[str, Any]:
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
        "uncalled": found.uncalled,
        "affected_until_open": asdict(found.until_open),
        "affected_once_open": asdict(found.once_open),
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
    table = Table(
        title="Confirmation emails while one organisation's CRM is dead",
        caption="Delay: from the action's timestamp to a read_committed reader. Lookups: exchanges with the"
        f" CRM.\nBreaker: one sign each {_STRIP_STEP:g} s, ○ closed, ● open, ◐ half-open.",
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    for head in ("CRM", "group"):
        table.add_column(head, no_wrap=True)
    for head in ("actions", "emails", "missing", "doubled", "p50 ms", "p99 ms", "max ms", "lookups"):
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
                _breaker(run.breaker) if first else "",
                end_section=group is Group.KNOWN,
            )
    return table


def _as_it_was(runs: Runs) -> Table:
    table = Table(
        title="The same actions through a consumer that awaits each lookup, and stops at an error",
        box=SIMPLE_HEAD,
        title_justify="left",
    )
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
            return "–" if run.asked.healthy is None else f"{run.asked.healthy:,}"
        case Group.KNOWN:
            return "0"


def _breaker(timeline: Timeline) -> str:
    opened = opened_at(timeline)
    if opened is None:
        return "stays closed"
    return f"{strip(timeline)} from {opened:.1f} s on"


def strip(timeline: Timeline, most: int = 8) -> str:
    """The states as signs, one each half second, ending with the last change."""
    if not timeline:
        return ""
    signs, end = "", timeline[-1][0] + _STRIP_STEP
    for step in range(int(end / _STRIP_STEP) + 1):
        state = next((state for at, state in reversed(timeline) if at <= step * _STRIP_STEP), "closed")
        signs += _STRIP[state]
    return signs if len(signs) <= most else f"{signs[:most]}…"


def _line(verdict: Verdict) -> Text:
    line = Text(
        "held    " if verdict.held else "missed  ", style="bold green" if verdict.held else "bold red"
    )
    line.append(f"{verdict.goal}\n        {verdict.detail}", style="default not bold")
    return line
