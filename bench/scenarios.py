"""What is compared: each scenario is a few lines of values. How it is run is in the other modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.workload import ONE_BUTTON, TWO_BUTTON, Workload

Kind = Literal["backlog", "live", "hanging", "table"]

PEERS = ("kafka-streams", "kafka-streams-splice", "quix", "quix-splice", "faust")
#: In a quick run each peer appears once, as the better of its two.
QUICK_FIELD = ("ours", "bare", "kafka-streams-splice", "quix-splice", "faust")
LIVE_MOST = 2_000_000  # actions in a live round, at most


@dataclass(frozen=True, slots=True)
class Scale:
    """How big everything is. Seconds and counts; `share` makes backlogs smaller."""

    name: str
    rounds: int
    share: float
    live_seconds: float
    settle_seconds: float
    live_rates: tuple[int, ...]
    people: tuple[int, ...]
    backlog: int
    warms: bool = False  # whether a round that does not count goes first

    def actions(self, full: int) -> int:
        """A backlog of this scale."""
        return max(500, int(full * self.share))


FULL = Scale(
    "full", 5, 1.0, 4.0, 1.5, (200, 2_000, 10_000), (10_000, 100_000, 1_000_000), 1_000_000, warms=True
)
QUICK = Scale("quick", 2, 0.3, 3.0, 1.0, (200, 2_000, 10_000), (100_000,), 200_000)
TINY = Scale("tiny", 1, 0.01, 1.0, 0.5, (200,), (2_000,), 3_000)
SCALES = {each.name: each for each in (FULL, QUICK, TINY)}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a scenario.

    Attributes:
        label: what is different in this case.
        workload: what is to be done.
        contenders: who does it.
        partitions: of every topic.
        workers: processes that share them.
        compression: of both topics.
        lookup: seconds that the lookup service takes; 0 for a dead one, None for none.
        settings: of our worker.
    """

    label: str
    workload: Workload
    contenders: tuple[str, ...] = ("ours",)
    partitions: int = 4
    workers: int = 1
    compression: str = "none"
    lookup: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A question, and the cases that answer it."""

    name: str
    title: str
    kind: Kind
    cases: Callable[[Scale], Sequence[Case]]
    most_rounds: int = 5  # of those that the scale asks for; fewer where a round takes long
    quick_rounds: int = 2  # in a quick run; 0: it is no part of one


# Every question is asked and answered: none is turned away because too many wait already.
_PATIENT = {"PENDING_LOOKUPS_PER_ORGANISATION": "512", "LOOKUP_DEADLINE": "10"}
_SUBSCRIBED = ((310, ONE_BUTTON),)  # what the lookup service says of everybody


def _known(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(200_000))
    return [Case("", work, QUICK_FIELD if scale is QUICK else ("ours", "bare", "bare-parse", *PEERS))]


def _missing(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(20_000), missing_every=1, missing=_SUBSCRIBED)
    return [Case("lookup 5 ms", work, ("ours", "bare-questions"), lookup=0.005, settings=_PATIENT)]


def _dead(scale: Scale) -> list[Case]:
    known = Workload(scale.actions(150_000))
    missing = Workload(scale.actions(150_000), missing_every=1)
    return [Case("every status known", known), Case("all missing, lookup dead", missing, lookup=0)]


def _mixed(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(100_000), missing_every=10, missing=_SUBSCRIBED)
    return [Case("90 % known, lookup 5 ms", work, lookup=0.005, settings=_PATIENT)]


def _live(_: Scale) -> list[Case]:
    return [Case("", Workload(LIVE_MOST), ("ours", "kafka-streams"))]


def _hanging(_: Scale) -> list[Case]:
    def case(label: str, *letters: str) -> Case:
        asked = tuple(zip((310, 311), letters, strict=True))
        return Case(label, Workload(LIVE_MOST, missing_every=2, missing=asked))

    return [
        case("every lookup healthy", ONE_BUTTON, ONE_BUTTON),
        case("one of two lookups hangs", ONE_BUTTON, TWO_BUTTON),
        case("every lookup hangs", TWO_BUTTON, TWO_BUTTON),
    ]


def _sizes(scale: Scale) -> list[Case]:
    cases = []
    for size, full in ((512, 150_000), (1_024, 150_000), (4_096, 80_000), (32_768, 10_000)):
        for compression in ("none", "lz4", "zstd"):
            work = Workload(scale.actions(full), size=size)
            cases.append(Case(f"{size / 1024:g} KB, {compression}", work, compression=compression))
    return cases


def _partitions(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(150_000))
    counts = (4, 64) if scale is QUICK else (1, 4, 16, 64)
    return [Case(f"{count} partitions", work, partitions=count) for count in counts]


def _workers(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(300_000))
    return [Case(f"{count} workers", work, partitions=8, workers=count) for count in (1, 2)]


def _table(scale: Scale) -> list[Case]:
    return [Case(f"{people:,} statuses", Workload(0, people=people)) for people in scale.people]


def _catch_up(scale: Scale) -> list[Case]:
    return [Case(f"{scale.backlog:,} actions", Workload(scale.backlog), ("ours", "bare"))]


_ALL = [
    Scenario("known", "Every status known: a backlog is drained", "backlog", _known),
    Scenario("missing", "Every status missing, lookup answers in 5 ms", "backlog", _missing),
    Scenario("dead", "Lookup dead", "backlog", _dead, most_rounds=3),
    Scenario(
        "latency", "Delay from the producer's send to a read_committed reader", "live", _live, quick_rounds=1
    ),
    Scenario("table", "Many statuses: memory and starts", "table", _table, most_rounds=1, quick_rounds=1),
    Scenario("partitions", "Partitions in one worker", "backlog", _partitions, most_rounds=3, quick_rounds=1),
    Scenario("catch-up", "Catching up", "backlog", _catch_up, most_rounds=1, quick_rounds=0),
    Scenario("workers", "How it scales", "backlog", _workers, most_rounds=3, quick_rounds=0),
    Scenario("mixed", "Nine of ten known", "backlog", _mixed, most_rounds=3, quick_rounds=0),
    Scenario("hanging", "Lookups hang", "hanging", _hanging, most_rounds=3, quick_rounds=0),
    Scenario("sizes", "Size and compression", "backlog", _sizes, most_rounds=1, quick_rounds=0),
]

SCENARIOS = {each.name: each for each in _ALL}
