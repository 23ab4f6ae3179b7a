"""One worker on one line: what its page's document comes to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.lookup.breaker import State
from streams.messages.decode import Variant
from streams.observability.page.headline import LookupCondition

#: Seconds over which rates are taken.
RATE_SECONDS = 10
_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is counted of a worker, or of several. None: not known.

    Attributes:
        partitions: of actions, that it has.
        actions_per_second: that arrived in its partitions.
        one_button_per_second: emails of that variant.
        two_button_per_second: emails of the other one.
        waiting: actions without an email yet.
        oldest_age_seconds: that the oldest of them has waited; None also: none waits.
        lookups_failed: emails of the last minute whose lookup had failed.
        dead_letters: of the last ten minutes.
    """

    partitions: int | None = None
    actions_per_second: float | None = None
    one_button_per_second: float | None = None
    two_button_per_second: float | None = None
    waiting: int | None = None
    oldest_age_seconds: float | None = None
    lookups_failed: int | None = None
    dead_letters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupSummary:
    """What one worker knows of an organisation's lookup.

    Attributes:
        organisation: None: those that share one lookup.
        label: as the page calls it.
        state: its circuit breaker's.
        down_seconds: since the breaker opened; None: it is closed.
        next_probe_seconds: until its next question is asked; 0: the next one is. None: the breaker is
            closed, or a probe is out.
        asked: questions of the last minute.
        failed: of them, those without an answer.
    """

    organisation: int | None
    label: str
    state: State
    down_seconds: float | None
    next_probe_seconds: float | None
    asked: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSummary(Figures):
    """One worker.

    Attributes:
        worker: its name; None: not known.
        address: host:port at which it was asked; None: it publishes none.
        ready: as its /readyz says; None: it did not answer.
        problem: why it is not ready, or has to be restarted, or did not answer: the first reason.
        lookups_down: the organisations, as its page calls them; at most those that the page names.
        lookups: those that the page names: first the one that it was asked about, then those that are down.
        lookups_more: how many others it has.
        up_seconds: since its start.
        version: of its package.
    """

    worker: str | None
    address: str | None
    ready: bool | None = None
    problem: str | None = None
    lookups_down: Sequence[str] = ()
    lookups: Sequence[LookupSummary] = ()
    lookups_more: int = 0
    up_seconds: float | None = None
    version: str | None = None


def summary_of(document: Mapping[str, Any], address: str) -> WorkerSummary:
    """Return what a worker's document comes to.

    Args:
        document: as its /live has it.
        address: at which it was asked.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: it is no such document.
    """
    points, letters = document["points"], document["letters"]
    columns = range(2, 2 + len(letters))
    of_variant = {
        variant: [at for at, letter in zip(columns, letters, strict=True) if letter[0] == variant]
        for variant in Variant
    }
    failed = [at for at, (_, reason) in zip(columns, letters, strict=True) if reason == "lookup_failed"]
    problems = document["problems"]
    rows = document["lookups"]["rows"]
    return WorkerSummary(
        worker=_plain(document["worker"]),
        address=address,
        ready=bool(document["ready"]),
        problem=_plain(problems[0]) if problems else None,
        lookups_down=[_plain(row["label"]) for row in rows if row["condition"] == LookupCondition.DOWN],
        lookups=[_lookup(row) for row in rows],
        lookups_more=int(document["lookups"]["more"]),
        up_seconds=max(0.0, float(document["time"]) - float(document["started"])),
        version=_plain(document["version"]),
        partitions=int(document["assigned"]),
        actions_per_second=_rate(points, [1]),
        one_button_per_second=_rate(points, of_variant[Variant.ONE_BUTTON]),
        two_button_per_second=_rate(points, of_variant[Variant.TWO_BUTTON]),
        waiting=None if document["waiting"] is None else int(document["waiting"]),
        oldest_age_seconds=None if document["oldest_age"] is None else float(document["oldest_age"]),
        lookups_failed=_sum((each for each in points if each[0] > points[-1][0] - _MINUTE), failed),
        dead_letters=_sum(points, [columns.stop + 1]),
    )


def _lookup(row: Mapping[str, Any]) -> LookupSummary:
    asked, share = int(row["asked"]), row["share"]
    down_for, probe_due_in = row["down_for"], row.get("probe_due_in")  # an older worker does not tell
    return LookupSummary(
        organisation=None if row["organisation"] is None else int(row["organisation"]),
        label=_plain(row["label"]),
        state=State(row["state"]),
        down_seconds=None if down_for is None else float(down_for),
        next_probe_seconds=None if probe_due_in is None else max(0.0, float(probe_due_in)),
        asked=asked,
        failed=0 if share is None else round(asked * (1 - share)),
    )


def _plain(text: str) -> str:
    """Return a text of another process as it may be printed: nothing in it steers a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _sum(points: Iterable[Sequence[float]], columns: Sequence[int]) -> int:
    return sum(int(point[at]) for point in points for at in columns)


def _rate(points: Sequence[Sequence[float]], columns: Sequence[int]) -> float | None:
    recent = points[-RATE_SECONDS - 1 :]
    seconds = recent[-1][0] - recent[0][0] if recent else 0.0
    return _sum(recent[1:], columns) / seconds if seconds > 0 else None


def totals_of(workers: Sequence[WorkerSummary]) -> Figures:
    """Return the figures of all `workers` together, each of which answered.

    A figure that one of them does not know makes the sum unknown.
    """

    def total(name: str) -> Any:
        values = [getattr(each, name) for each in workers]
        return None if not values or None in values else sum(values)

    ages = [each.oldest_age_seconds for each in workers if each.oldest_age_seconds is not None]
    sums = {name: total(name) for name in Figures.__dataclass_fields__ if name != "oldest_age_seconds"}
    return Figures(**sums, oldest_age_seconds=max(ages, default=None))
