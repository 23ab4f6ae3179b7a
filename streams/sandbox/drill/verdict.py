"""What a drill must show, and whether it did. Pure; every time is in seconds."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from streams.sandbox.drill.crowd import Group
from streams.sandbox.drill.figures import Delays, Figures
from streams.sandbox.lookup_service import Behaviour

SLACK = 0.05
"""What a dead CRM may add, at p99, to a delay that has nothing to do with it."""


class GoalVerdict(NamedTuple):
    """One goal, and whether it was reached."""

    goal: str
    detail: str
    held: bool


def verdicts(runs: Mapping[Behaviour, Figures], deadline: float) -> list[GoalVerdict]:
    """Judge every run; what is compared with the healthy one is left out where there is none."""
    dead: dict[Behaviour, Figures] = {
        mode: run for mode, run in runs.items() if mode is not Behaviour.HEALTHY
    }
    found = [_counts(runs)]
    healthy = runs.get(Behaviour.HEALTHY)
    if healthy is not None and dead:
        found += [_unmoved(group, healthy, dead) for group in (Group.HEALTHY, Group.KNOWN)]
    if dead:
        found += [
            _beside_known("Affected, until the breaker opens", deadline, dead, lambda run: run.until_open),
            _beside_known("Affected, once the breaker is open", 0.0, dead, lambda run: run.once_open),
        ]
    return found


def _counts(runs: Mapping[Behaviour, Figures]) -> GoalVerdict:
    details = []
    for mode, run in runs.items():
        doubled = sum(each.doubled for each in run.groups.values()) + run.uncalled
        missing = sum(each.missing for each in run.groups.values())
        details.append(f"{mode} {run.actions - missing:,} of {run.actions:,}, {doubled} doubled")
    return GoalVerdict(
        "Every action has its one email",
        "; ".join(details),
        all(run.exactly_once for run in runs.values()),
    )


def _unmoved(group: Group, healthy: Figures, dead: Mapping[Behaviour, Figures]) -> GoalVerdict:
    limit = healthy.groups[group].delays.p99
    goal = f"{str(group).capitalize()}: delay p99 within {_ms(SLACK)} of the healthy run's"
    return _within(goal, {mode: (run.groups[group].delays.p99, limit) for mode, run in dead.items()})


def _beside_known(
    which: str, waits: float, dead: Mapping[Behaviour, Figures], delays: Callable[[Figures], Delays]
) -> GoalVerdict:
    """Compare with the known supporters of the same run, whose emails ask no lookup.

    Their delay is what this machine took for an email in the same seconds, whatever else it did.

    Args:
        which: the actions that are judged.
        waits: what such an action may wait for its lookup, in seconds.
        dead: the runs with a dead CRM.
        delays: the delays of these actions in a run.
    """
    allowed = f"{_ms(waits)} and {_ms(SLACK)}" if waits else _ms(SLACK)
    judged: dict[Behaviour, tuple[float | None, float | None]] = {}
    for mode, run in dead.items():
        known = run.groups[Group.KNOWN].delays.p99
        judged[mode] = (delays(run).p99, None if known is None else known + waits)
    return _within(f"{which}: delay p99 within {allowed} of the known supporters'", judged)


def _within(goal: str, judged: Mapping[Behaviour, tuple[float | None, float | None]]) -> GoalVerdict:
    """Compare each mode's p99 with its base and SLACK; a mode without any delay to judge is a dash."""
    details, held = [], True
    for mode, (p99, base) in judged.items():
        limit = None if base is None else base + SLACK
        details.append(f"{mode} {_ms(p99)} (at most {_ms(limit)})")
        held = held and (p99 is None or (limit is not None and p99 <= limit))
    return GoalVerdict(goal, ", ".join(details), held)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.0f} ms"


def all_held(found: Sequence[GoalVerdict]) -> bool:
    """Whether there is nothing to explain."""
    return all(verdict.held for verdict in found)
