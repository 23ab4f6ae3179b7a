"""What the page shows, as plain values, made from what the worker knows when somebody looks.

Nothing in it is about a person: counts, numbers of partitions and organisations, and redacted log messages.
What is not known is None, never 0.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from streams.actions.decision import LETTERS
from streams.kafka.members import Published
from streams.lookup.breaker import State
from streams.lookup.organisation import OrganisationLookup
from streams.observability.health import WorkerHealth
from streams.observability.lag import LaneSet, PartitionLags
from streams.observability.metric_catalogue import DEAD_LETTERS, EMAILS, IGNORED
from streams.observability.metrics import Metrics
from streams.observability.page.headline import (
    LookupCondition,
    LookupFacts,
    WorkerFacts,
    headline_of,
    lookup_condition,
)
from streams.observability.page.history import DeadLetterHistory, History, LogGrowth
from streams.observability.page.lookup_statistics import LookupStatistics
from streams.observability.page.recent_errors import RecentErrors

#: Rows of each table at most: what is in trouble comes first, and the rest is counted.
ROWS = 24
#: Kinds of errors and warnings that are shown.
ERRORS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """The parts of a worker that the page looks at."""

    published: Published  # its name, and what tells this process from any other
    version: str
    metrics: Metrics
    health: WorkerHealth
    decision: Callable[[], str | None]  # what the start waits for, if only a person can decide it
    lanes: Callable[[], Iterable[tuple[str, LaneSet]]]  # by topic; the first is actions
    #: Gives the end of a partition, and the offset up to which it was fetched; None: not known.
    fetch_position: Callable[[str, int], tuple[int, int] | None]
    lags: PartitionLags
    lookups: Iterable[OrganisationLookup]
    lookup_statistics: LookupStatistics
    organisation_name: Callable[[int], str | None]  # as the organisations file has it
    recent_errors: RecentErrors


@dataclass(slots=True)
class PartitionRow:
    """One partition of this worker."""

    topic: str
    partition: int
    committed: int | None = None  # the offset; None: its lane is not open yet
    uncommitted: int = 0  # records that were read, and have no email in a committed transaction yet
    awaiting_lookup: int = 0  # of them, those that wait for an answer
    stopped: str | None = None  # why it stands still until a person acts
    trouble: str | None = None  # why it cannot go on at the moment
    lag: int | None = None  # offsets from the committed one to the end; None: not known
    oldest_age: float | None = None  # seconds that its oldest action has waited; None: none is known to wait


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupRow(LookupFacts):
    """One organisation's lookup: what the headline is told, and what the table shows besides."""

    organisation: int | None  # None: those that share one lookup
    name: str | None
    state: State  # the breaker's
    probe_due_in: float | None  # seconds; negative: overdue; None: its breaker is closed, or a probe is out
    asked_ago: float | None  # seconds since the last question ended
    asked: int  # questions in the last minute
    median: float | None  # seconds that they took
    p95: float | None


class Overview:
    """Notes a point of the history every second, and describes the worker when asked."""

    def __init__(self, parts: WorkerParts, now: Callable[[], float]) -> None:
        """Look at these `parts`; `now` gives seconds since the epoch."""
        self._parts = parts
        self._now = now
        self._started = now()
        self._history = History()
        self._arrived = LogGrowth()
        self._dead_letters = DeadLetterHistory()
        self._unready_since: float | None = now()

    def note(self) -> None:
        """Note what was counted since the last time; it happens whether or not somebody looks."""
        parts, now = self._parts, self._now()
        parts.lookup_statistics.forget_all_but(each.org_id for each in parts.lookups)
        self._arrived.note(
            {
                (topic, lane.partition): position[0]
                for topic, lanes in parts.lanes()
                for lane in lanes
                if (position := parts.fetch_position(topic, lane.partition)) is not None
            }
        )
        emails, dead = parts.metrics.counts(EMAILS), parts.metrics.counts(DEAD_LETTERS)
        self._dead_letters.note(now, dead)
        ignored = sum(parts.metrics.counts(IGNORED).values())
        letters = [emails.get(letter, 0) for letter in LETTERS]
        self._history.note(now, [self._arrived.total, *letters, ignored, sum(dead.values())])
        if not self._not_ready([lag for lag, _ in parts.lags.look().values()]):
            self._unready_since = None
        elif self._unready_since is None:
            self._unready_since = now

    def describe(self, organisation: int | None = None) -> dict[str, Any]:
        """Return all that the page shows, for orjson (which writes dataclasses too).

        Args:
            organisation: whose lookup is listed first, or else the one that it shares; None: the worst is.
        """
        parts, now = self._parts, self._now()
        partitions, lookups = self._partitions(now), self._lookups()
        not_ready = self._not_ready([row.lag for row in partitions])
        lags = [row.lag for row in partitions if row.lag is not None]
        known = len(lags) == len(partitions) and (bool(partitions) or not not_ready)
        ages = [row.oldest_age for row in partitions if row.oldest_age is not None]
        oldest_age = max(ages, default=None)
        dead_letters = self._dead_letters.kinds()
        actions_topic, _ = next(iter(parts.lanes()))
        facts = WorkerFacts(
            decisions=self._decisions(partitions),
            not_alive=parts.health.not_alive(),
            not_ready=not_ready,
            not_ready_for=0.0 if self._unready_since is None else now - self._unready_since,
            oldest_age=oldest_age,
            waiting=sum(lags),
            lookups=lookups,
            dead_letters=sum(kind.recent for kind in dead_letters),
            emails=sum(self._history.sum(1 + index) for index in range(len(LETTERS))),
            partitions=len(partitions),
        )
        return {
            "worker": parts.published.worker,
            "run": parts.published.run,
            "version": parts.version,
            "started": self._started,
            "time": now,
            "ready": not (unready := parts.health.not_ready()),
            "problems": [*facts.not_alive, *unready],
            "headline": headline_of(facts),
            "letters": [[str(variant), str(reason)] for variant, reason in LETTERS],
            "points": [[point.moment, *point.counts] for point in self._history],
            "waiting": sum(lags) if known else None,
            "oldest_age": oldest_age,
            "lookups": _bounded(lookups if organisation is None else _beginning_with(organisation, lookups)),
            "assigned": sum(row.topic == actions_topic for row in partitions),
            "partitions": _bounded(partitions),
            "errors": parts.recent_errors.latest(ERRORS),
            "dead_letters": dead_letters[:ROWS],
        }

    def _not_ready(self, lags: Sequence[int | None]) -> list[str]:
        """Return why this worker does not do its work; or that its partitions' lags do not tell."""
        if problems := self._parts.health.not_ready():
            return problems
        unknown = lags.count(None)
        if not unknown:
            return []
        return [f"Kafka has not told yet how many actions wait in {unknown} of {len(lags)} partitions"]

    def _decisions(self, partitions: Sequence[PartitionRow]) -> list[str]:
        found = [
            f"partition {row.partition} of {row.topic} stands still: {row.stopped}"
            for row in partitions
            if row.stopped
        ]
        if (decision := self._parts.decision()) is not None:
            found.append(f"the worker waits for {decision}")
        return found

    def _partitions(self, now: float) -> list[PartitionRow]:
        """Return those that stand still or have trouble first."""
        rows: list[PartitionRow] = []
        for topic, lanes in self._parts.lanes():
            rows += [
                PartitionRow(
                    topic,
                    lane.partition,
                    committed=lane.committed,
                    uncommitted=lane.uncommitted,
                    awaiting_lookup=lane.awaiting_lookup,
                    stopped=lane.halted,
                    trouble=lane.commit_failure,
                )
                for lane in sorted(lanes, key=lambda lane: lane.partition)
            ]
            rows += [
                PartitionRow(topic, number, trouble=why) for number, why in sorted(lanes.opening.items())
            ]
        found = self._parts.lags.look()
        for row in rows:
            row.lag, since = found.get((row.topic, row.partition), (None, None))
            row.oldest_age = None if since is None else max(0.0, now - since)
        return sorted(rows, key=lambda row: not (row.stopped or row.trouble))

    def _lookups(self) -> list[LookupRow]:
        """Return those that are down first, then those that fail often, then the most asked ones."""
        return sorted(
            map(self._lookup, self._parts.lookups),
            key=lambda row: (
                row.down_for is None,
                row.condition is not LookupCondition.FAILS_OFTEN,
                -row.asked,
                row.organisation or 0,
            ),
        )

    def _lookup(self, lookup: OrganisationLookup) -> LookupRow:
        statistics, org_id = self._parts.lookup_statistics, lookup.org_id
        minute, down_for = statistics.last_minute(org_id), statistics.down_for(org_id)
        name = None if org_id is None else self._parts.organisation_name(org_id)
        probe_due_in = lookup.probe_due_in
        return LookupRow(
            organisation=org_id,
            name=name,
            label=_label(org_id, name),
            condition=lookup_condition(down_for, probe_due_in, minute.asked, minute.share),
            state=lookup.state,
            probe_due_in=probe_due_in,
            down_for=down_for,
            asked_ago=statistics.asked_ago(org_id),
            asked=minute.asked,
            share=minute.share,
            wrong_answer=statistics.wrong_answer(org_id),
            median=minute.median,
            p95=minute.p95,
        )


def _beginning_with(organisation: int, rows: Sequence[LookupRow]) -> Sequence[LookupRow]:
    return sorted(rows, key=lambda row: (row.organisation != organisation, row.organisation is not None))


def _label(org_id: int | None, name: str | None) -> str:
    if org_id is None:
        return "the other organisations"
    return f"organisation {org_id}" if name is None else f"{name} ({org_id})"


def _bounded(rows: Sequence[PartitionRow] | Sequence[LookupRow]) -> dict[str, Any]:
    return {"rows": rows[:ROWS], "more": max(0, len(rows) - ROWS)}
