"""What the page shows, as plain values: made once a second while somebody looks, from what the worker knows.

Nothing in it is about a person: counts, numbers of partitions and organisations, and redacted log messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from streams.actions.decision import LETTERS
from streams.delivery.lane import Lane
from streams.lookup.breaker import State
from streams.observability.lag import LaneSet, PartitionLags
from streams.observability.metric_catalogue import DEAD_LETTERS, EMAILS, IGNORED, Described
from streams.observability.page.headline import Facts, Lookup, conclude
from streams.observability.page.history import DeadLetters, Growth, History
from streams.observability.page.lookup_statistics import LookupWatch
from streams.observability.page.recent_errors import RecentErrors

#: Rows of each table at most: what is in trouble comes first, and the rest is counted.
ROWS = 24
ERRORS = 8


class Counters(Protocol):
    """Counts what became of actions; ``streams.observability.metrics.Metrics``."""

    def counts(self, described: Described) -> Mapping[tuple[str, ...], int]:
        """Return a counter by its label values."""


class Checks(Protocol):
    """Says in sentences what is wrong; ``streams.observability.health.Health``."""

    def not_alive(self) -> list[str]:
        """Return why the process should be restarted."""

    def not_ready(self) -> list[str]:
        """Return why it does not do its work now."""


class OrganisationLookupView(Protocol):
    """What is to be seen of one organisation's lookups (``OrganisationLookup``)."""

    @property
    def org_id(self) -> int | None:
        """None: several share it."""

    @property
    def state(self) -> State:
        """The breaker's."""

    @property
    def waiting(self) -> int:
        """Asks without an outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the page gets it all from."""

    worker: str  # what to call it
    version: str
    counters: Counters
    checks: Checks
    decision: Callable[[], str | None]  # what the start waits for, if that is a person
    lanes: Callable[[], Iterable[tuple[str, LaneSet]]]  # by topic; the first is actions
    fetch_position: Callable[
        [str, int], tuple[int, int] | None
    ]  # a partition's end, and what of it was fetched
    backlog: PartitionLags
    organisations: Iterable[OrganisationLookupView]
    lookups: LookupWatch
    called: Callable[[int], str | None]  # an organisation's name in the file
    errors: RecentErrors


class Watch:
    """Notes a point a second, and describes the worker when asked."""

    def __init__(self, sources: Sources, now: Callable[[], float]) -> None:
        """Watch; `now` gives seconds since the epoch."""
        self._from = sources
        self._now = now
        self._started = now()
        self._history = History()
        self._growth = Growth()
        self._dead_letters = DeadLetters()
        self._unready_since: float | None = now()

    def tick(self) -> None:
        """Note what was counted since the last time. Some 50 µs: this is all that happens unwatched."""
        source, now = self._from, self._now()
        source.lookups.keep(organisation.org_id for organisation in source.organisations)
        self._growth.note(
            {
                (topic, lane.partition): fetch_position[0]
                for topic, lane in self._open_lanes()[0]
                if (fetch_position := source.fetch_position(topic, lane.partition)) is not None
            }
        )
        emails, dead = source.counters.counts(EMAILS), source.counters.counts(DEAD_LETTERS)
        self._dead_letters.note(now, dead)
        ignored = sum(source.counters.counts(IGNORED).values())
        letters = [emails.get(letter, 0) for letter in LETTERS]
        self._history.note(now, [self._growth.total, *letters, ignored, sum(dead.values())])
        if not source.checks.not_ready():
            self._unready_since = None
        elif self._unready_since is None:
            self._unready_since = now

    def past(self) -> dict[str, Any]:
        """Return what a page needs once: what it is about, and the points so far."""
        return {
            "worker": self._from.worker,
            "version": self._from.version,
            "started": self._started,
            "letters": [[str(variant), str(reason)] for variant, reason in LETTERS],
            "points": [[point.moment, *point.counts] for point in self._history],
        }

    def present(self) -> dict[str, Any]:
        """Return the state of affairs."""
        now = self._now()
        partitions = self._partitions(now)
        lookups = self._lookups()
        kinds = self._dead_letters.kinds()
        oldest_age = max((row["oldest"] for row in partitions if row["oldest"] is not None), default=None)
        waiting = sum(row["lag"] or 0 for row in partitions)
        newest = list(self._history)[-1:]
        return {
            "time": now,
            "status": asdict(conclude(self._facts(now, partitions, lookups, oldest_age, waiting))),
            "point": [newest[0].moment, *newest[0].counts] if newest else None,
            "waiting": waiting,
            "oldest": oldest_age,
            "lookups": _bounded(lookups),
            "partitions": _bounded(partitions),
            "unsettled": sum(row["unsettled"] for row in partitions),
            "errors": [asdict(seen) for seen in self._from.errors.latest(ERRORS)],
            "dead_letters": [kind._asdict() for kind in kinds[:ROWS]],
        }

    def _facts(
        self,
        now: float,
        partitions: list[dict[str, Any]],
        lookups: list[dict[str, Any]],
        oldest_age: float | None,
        waiting: int,
    ) -> Facts:
        source = self._from
        decisions = [
            f"partition {row['partition']} of {row['topic']} stands still: {row['stopped']}"
            for row in partitions
            if row["stopped"]
        ]
        if (decision := source.decision()) is not None:
            decisions.append(f"the worker waits for {decision}")
        return Facts(
            decisions=decisions,
            not_alive=source.checks.not_alive(),
            not_ready=source.checks.not_ready(),
            not_ready_for=0.0 if self._unready_since is None else now - self._unready_since,
            oldest_age=oldest_age,
            waiting=waiting,
            lookups=[_fact(row) for row in lookups],
            dead_letters=sum(kind.recent for kind in self._dead_letters.kinds()),
            emails=sum(self._history.sum(1 + index) for index in range(len(LETTERS))),
            partitions=len(partitions),
        )

    def _open_lanes(self) -> tuple[list[tuple[str, Lane]], list[tuple[str, int, str]]]:
        """Return open lanes and opening ones, with their topics."""
        both = [(topic, lanes) for topic, lanes in self._from.lanes()]
        return (
            [(topic, lane) for topic, lanes in both for lane in lanes],
            [(topic, number, why) for topic, lanes in both for number, why in lanes.opening.items()],
        )

    def _partitions(self, now: float) -> list[dict[str, Any]]:
        lanes, opening = self._open_lanes()
        rows: list[dict[str, Any]] = [
            {
                "topic": topic,
                "partition": lane.partition,
                "unsettled": lane.uncommitted,
                "pending": lane.awaiting_lookup,
                "stopped": lane.halted,
                "trouble": lane.commit_failure,
            }
            for topic, lane in lanes
        ]
        rows += [
            {
                "topic": topic,
                "partition": number,
                "unsettled": 0,
                "pending": 0,
                "stopped": None,
                "trouble": why,
            }
            for topic, number, why in opening
        ]
        lags, since = dict(self._from.backlog.lags()), dict(self._from.backlog.waiting_since())
        for row in rows:
            topic_partition = row["topic"], str(row["partition"])
            row["lag"] = lags.get(topic_partition)
            row["oldest"] = max(0.0, now - since[topic_partition]) if topic_partition in since else None
        order = {topic: index for index, (topic, _) in enumerate(self._from.lanes())}
        return sorted(
            rows,
            key=lambda row: (
                not (row["stopped"] or row["trouble"]),
                order[row["topic"]],
                row["partition"],
            ),
        )

    def _lookups(self) -> list[dict[str, Any]]:
        rows = [self._lookup(organisation) for organisation in self._from.organisations]
        for row in rows:
            row["weak"] = _fact(row).weak
        return sorted(
            rows,
            key=lambda row: (
                row["down_for"] is None,
                not row["weak"],
                -row["asked"],
                row["organisation"] or 0,
            ),
        )

    def _lookup(self, organisation: OrganisationLookupView) -> dict[str, Any]:
        recent = self._from.lookups.recent(organisation.org_id)
        return {
            "organisation": organisation.org_id,
            "name": None if organisation.org_id is None else self._from.called(organisation.org_id),
            "state": str(organisation.state),
            "down_for": self._from.lookups.down_for(organisation.org_id),
            "asked": recent.asked,
            "share": recent.share,
            "median": recent.median,
            "slow": recent.slow,
            "pending": organisation.waiting,
        }


def _fact(row: dict[str, Any]) -> Lookup:
    return Lookup(_spoken(row["organisation"], row["name"]), row["down_for"], row["asked"], row["share"])


def _spoken(org_id: int | None, name: str | None) -> str:
    if org_id is None:
        return "the other organisations"
    return f"organisation {org_id}" if name is None else f"{name} ({org_id})"


def _bounded(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rows": rows[:ROWS], "more": max(0, len(rows) - ROWS)}
