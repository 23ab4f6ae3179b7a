"""What a drill must show, and whether it did. Pure; every time is in seconds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streams.sandbox.drill.crowd import Group
from streams.sandbox.drill.figures import Figures, SameSeconds
from streams.sandbox.lookup_service import Behaviour

SLACK = 0.05
SLACK_SHARE = 0.5
"""What may be added, at p99, to the delay that an email is compared with: seconds, or a share of that delay
where this is more. The p99 of a few seconds wanders with the machine, by so much of itself."""

_WAYS = 2
"""An email takes so many times the way through Kafka that its action takes to the reader: the worker reads
what the producer wrote, and the reader what the worker wrote."""


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
            _beside_known(
                "Affected, until the breaker opens",
                deadline,
                {mode: run.until_open for mode, run in dead.items()},
            ),
            _beside_known(
                "Affected, once the breaker is open", 0.0, {mode: run.once_open for mode, run in dead.items()}
            ),
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
    """Compare with the healthy run, in which the machine may have been faster.

    The actions themselves come to the reader past the worker. By what they take longer, an email may take
    longer on each of its ways. It may not be more than the delay of the healthy run: a worker that takes all
    CPU slows the actions, too.
    """
    base = healthy.groups[group].delays.p99

    def slower(run: Figures) -> float:
        if base is None or run.own.p99 is None or healthy.own.p99 is None:
            return 0.0
        return min(base, _WAYS * max(0.0, run.own.p99 - healthy.own.p99))

    goal = f"{str(group).capitalize()}: delay p99 at most {_SLACK_TEXT} above the healthy run's"
    judged = {mode: (run.groups[group].delays.p99, base, slower(run)) for mode, run in dead.items()}
    return _within(f"{goal}, and what the actions took longer to come", judged)


def _beside_known(which: str, waits: float, dead: Mapping[Behaviour, SameSeconds]) -> GoalVerdict:
    """Compare with the known supporters of the same run, whose emails ask no lookup.

    Their delay is what this machine took for an email in the same seconds, whatever else it did.

    Args:
        which: the actions that are judged.
        waits: what such an action may wait for its lookup, in seconds.
        dead: the delays of both, of each run with a dead CRM.
    """
    allowed = f"{_ms(waits)} and {_SLACK_TEXT}" if waits else _SLACK_TEXT
    goal = f"{which}: delay p99 at most {allowed} above the known supporters' of these seconds"
    return _within(goal, {mode: (each.affected.p99, each.known.p99, waits) for mode, each in dead.items()})


def _within(goal: str, judged: Mapping[Behaviour, tuple[float | None, float | None, float]]) -> GoalVerdict:
    """Hold each mode's p99 against another one, the slack, and what is allowed on top.

    A mode without a delay to judge is a dash.
    """
    details, held = [], True
    for mode, (p99, base, more) in judged.items():
        limit = None if base is None else base + max(SLACK, SLACK_SHARE * base) + more
        details.append(f"{mode} {_ms(p99)} (at most {_ms(limit)})")
        held = held and (p99 is None or (limit is not None and p99 <= limit))
    return GoalVerdict(goal, ", ".join(details), held)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.0f} ms"


_SLACK_TEXT = f"{_ms(SLACK)} (or {SLACK_SHARE:.0%}, where that is more)"


def all_held(found: Sequence[GoalVerdict]) -> bool:
    """Whether there is nothing to explain."""
    return all(verdict.held for verdict in found)
