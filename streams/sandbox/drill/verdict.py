"""What a drill must show, and whether it did. Pure; every time is in seconds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streams.sandbox.drill.crowd import Group
from streams.sandbox.drill.figures import Delays, Figures
from streams.sandbox.lookup_service import Behaviour

SLACK = 0.05
"""What somebody else's dead CRM may cost those who do not need it, at p99."""
OVER_DEADLINE = 0.1
"""What a hanging lookup's action may wait beyond the deadline, at p99."""
ONCE_OPEN = 0.1
"""What an action of the dead CRM may wait once its breaker is open, at p99."""


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
        until: dict[Behaviour, Delays] = {mode: run.until_open for mode, run in dead.items()}
        once: dict[Behaviour, Delays] = {mode: run.once_open for mode, run in dead.items()}
        goal = "Affected, until the breaker opens: delay p99"
        found.append(_within(goal, until, deadline + OVER_DEADLINE))
        found.append(_within("Affected, once the breaker is open: delay p99", once, ONCE_OPEN))
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
    base = healthy.groups[group].delays.p99
    limit = None if base is None else base + SLACK
    goal = f"{str(group).capitalize()}: delay p99 within {_ms(SLACK)} of the healthy run's"
    return _within(goal, {mode: run.groups[group].delays for mode, run in dead.items()}, limit)


def _within(goal: str, delays: Mapping[Behaviour, Delays], limit: float | None) -> GoalVerdict:
    """A mode without any delay to judge says nothing, and is shown as such."""
    details = ", ".join(f"{mode} {_ms(each.p99)}" for mode, each in delays.items())
    held = limit is not None and all(each.p99 is None or each.p99 <= limit for each in delays.values())
    return GoalVerdict(goal, f"at most {_ms(limit)}: {details}", held)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.0f} ms"


def all_held(found: Sequence[GoalVerdict]) -> bool:
    """Whether there is nothing to explain."""
    return all(verdict.held for verdict in found)
