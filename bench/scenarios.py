"""What is compared: each scenario is a few lines of values. How it is run is in the other modules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.own_actions import OwnActions
from bench.workload import ONE_BUTTON, TWO_BUTTON, Workload

Kind = Literal["backlog", "live", "hanging", "table", "idle", "handover"]

PEERS = ("kafka-streams", "kafka-streams-splice", "quix", "quix-splice", "faust")
_GUARDED = ("ours", "bare")
#: In a quick run each peer appears once, as the better of its two.
_BETTER = ("kafka-streams-splice", "quix-splice", "faust")
_ASKING = ("ours", "flink")  # who asks for missing statuses, and writes the emails
SESSION_SECONDS = 10.0  # after which the group gives away the partitions of a worker that was killed
LIVE_MOST = 2_000_000  # actions in a live round, at most


@dataclass(frozen=True, slots=True)
class Scale:
    """How big everything is. Seconds and counts; `share` makes backlogs smaller.

    Delays are taken at each of `live_rates` for `live_seconds`, and until there are `live_actions`. The p99
    of 400 delays is the fifth-longest: at 200 a second, one pause of the machine of 25 ms decides it.
    """

    name: str
    rounds: int
    share: float
    live_seconds: float
    settle_seconds: float
    live_rates: tuple[int, ...]
    people: tuple[int, ...]
    backlog: int
    live_actions: int = 0
    sustained_rounds: int = 0  # in which delay is taken at shares of the sustained rate as well
    warms: bool = False  # whether some rounds that do not count go first

    def actions(self, full: int) -> int:
        """A backlog of this scale."""
        return max(500, int(full * self.share))

    def seconds_at(self, rate: int) -> float:
        """How long delays are taken at a rate, in actions a second."""
        return max(self.live_seconds, self.live_actions / rate)


FULL = Scale(
    name="full",
    rounds=5,
    share=1.0,
    live_seconds=2.0,
    settle_seconds=1.0,
    live_rates=(200, 2_000, 10_000),
    people=(10_000, 100_000, 1_000_000),
    backlog=1_000_000,
    live_actions=2_000,
    sustained_rounds=2,
    warms=True,
)
QUICK = replace(
    FULL,
    name="quick",
    rounds=3,
    share=0.5,
    people=(100_000,),
    backlog=200_000,
    live_actions=0,
    sustained_rounds=0,
)
TINY = Scale(
    name="tiny",
    rounds=1,
    share=0.01,
    live_seconds=1.0,
    settle_seconds=0.5,
    live_rates=(200,),
    people=(2_000,),
    backlog=3_000,
    sustained_rounds=1,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a scenario.

    Attributes:
        label: what is different in this case.
        workload: what is to be done.
        contenders: who does it.
        partitions: of every topic.
        workers: processes that share them.
        members: of the group, that must have their partitions before the topic is filled, in one moment;
            0: it is filled before anybody starts.
        compression: of both topics.
        lookup: seconds that the lookup service takes; 0 for a dead one, None for none.
        settings: of our worker.
        once: of the contenders, those that take part in the first round only.
        sustained: whether delay is taken at shares of the sustained rate as well.
    """

    label: str
    workload: Workload | OwnActions
    contenders: tuple[str, ...] = ("ours",)
    partitions: int = 4
    workers: int = 1
    members: int = 0
    compression: str = "none"
    lookup: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    once: tuple[str, ...] = ()
    sustained: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """A question, and the cases that answer it.

    Attributes:
        name: for command lines and results.
        title: for tables; {cores} is the number of the machine's.
        kind: how it is run.
        cases: its rows at a scale.
        most_rounds: of those that the scale asks for; fewer where a round takes long.
        minutes: that a full run has for it; what one scenario leaves over, the next ones may use.
        quick_rounds: in a quick run; 0: it is no part of one.
        quick_minutes: that a quick run has for it.
    """

    name: str
    title: str
    kind: Kind
    cases: Callable[[Scale], Sequence[Case]]
    most_rounds: int
    minutes: float
    quick_rounds: int = 0
    quick_minutes: float = 0.0

    def rounds(self, scale: Scale) -> int:
        """How many rounds there are, if there is time."""
        return min(scale.rounds, self.most_rounds if scale is FULL else max(1, self.quick_rounds))

    def seconds(self, scale: Scale) -> float:
        """How long it may take; one round is made in any case."""
        return 60 * (self.quick_minutes if scale is QUICK else self.minutes)


#: Lookups at once, of ours and of the bare loop. More would only stand in a queue before the service, which
#: has a share of two cores; and where an answer takes more than 50 ms, our worker does not wait for it.
LOOKUPS_AT_ONCE = 24
PATIENT = {"LOOKUP_CONCURRENCY": str(LOOKUPS_AT_ONCE), "LOOKUP_DEADLINE": "10"}
_DELAY = "Delay from the producer's send to a read_committed reader"
_TOGETHER = "all are in the group before the topic is filled"
_SILENCE = "Handover: the longest silence of any of 8 partitions, while actions flow"
SUBSCRIBED = ((310, ONE_BUTTON),)  # what the lookup service says of everybody


def _known(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(120_000))
    if scale is QUICK:
        return [Case("", work, (*_GUARDED, "c-loop", *_BETTER), once=_BETTER)]
    return [Case("", work, (*_GUARDED, "bare-parse", "c-loop", *PEERS, "flink"), once=("flink",))]


def own_actions(work: OwnActions) -> Scenario:
    """Every status known, on the user's own actions."""
    known = SCENARIOS["known"]
    shown = f"{len(work.lines):,} of your own actions, {work.left_out:,} lines left out"
    contenders = (*_GUARDED, "c-loop", *PEERS)
    return replace(
        known,
        title=f"Every status known: a backlog is drained ({shown})",
        cases=lambda _: [Case("", work, contenders, once=PEERS)],
    )


def _missing(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(16_000), missing_every=1, missing=SUBSCRIBED)
    contenders = ("ours", "bare-questions", *(() if scale is QUICK else ("flink",)))
    return [Case("lookup 5 ms", work, contenders, lookup=0.005, settings=PATIENT)]


def _dead(scale: Scale) -> list[Case]:
    known = Workload(scale.actions(100_000))
    missing = Workload(scale.actions(100_000), missing_every=1)
    dead = Case("all missing, lookup dead", missing, lookup=0)
    cases = [Case("every status known", known), dead]
    if scale is not QUICK:  # a fifth, since it asks for each: a minute of it says no more
        fewer = replace(missing, actions=scale.actions(20_000))
        cases.append(replace(dead, workload=fewer, contenders=("flink",), once=("flink",)))
    return cases


def _mixed(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(80_000), missing_every=10, missing=SUBSCRIBED)
    return [Case("90 % known, lookup 5 ms", work, lookup=0.005, settings=PATIENT)]


def _live(scale: Scale) -> list[Case]:
    # The bare loop is in each round: a verdict that rests on one round of it is as noisy as that round.
    peers = ("kafka-streams-splice",) if scale is QUICK else ("kafka-streams-splice", "bare", "quix-100ms")
    once = ("quix-100ms",)
    return [Case("", Workload(LIVE_MOST), ("ours", *peers), once=once, sustained=True)]


def _hanging(_: Scale) -> list[Case]:
    def case(label: str, *letters: str) -> Case:
        asked = tuple(zip((310, 311), letters, strict=True))
        work = Workload(LIVE_MOST, missing_every=2, missing=asked)
        return Case(label, work, _ASKING, once=("flink",))

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
    work = Workload(scale.actions(60_000))
    counts = (4, 64) if scale is QUICK else (1, 4, 16, 64)
    return [Case(f"{count} partitions", work, partitions=count) for count in counts]


def _workers(scale: Scale) -> list[Case]:
    work = Workload(scale.actions(200_000))
    java = {1: "kafka-streams-splice", 2: "kafka-streams-2"}
    cases = []
    for count in (1, 2):
        # Two workers of ours; of Kafka Streams one process with two threads, as its users have it.
        ours = Case(f"{count} at work", work, partitions=8, workers=count, members=count)
        cases += [ours, replace(ours, contenders=(java[count],), workers=1)]
    return cases


def _table(scale: Scale) -> list[Case]:
    return [Case(f"{people:,} statuses", Workload(0, people=people)) for people in scale.people]


def _idle(scale: Scale) -> list[Case]:
    work = Workload(0, people=scale.actions(5_000))
    return [Case("64 partitions", work, ("ours", "kafka-streams-splice"), partitions=64)]


def _handover(_: Scale) -> list[Case]:
    #: The same for both; Kafka's default is 45 s, and ours is shorter.
    session = {"SESSION_TIMEOUT": f"{SESSION_SECONDS:g}", "HEARTBEAT_INTERVAL": "3"}
    both = ("ours", "kafka-streams-splice")
    return [Case("", Workload(LIVE_MOST), both, partitions=8, workers=2, settings=session)]


def _catch_up(scale: Scale) -> list[Case]:
    return [Case(f"{scale.backlog:,} actions", Workload(scale.backlog), ("ours", "bare"))]


#: In the order of what the goals need most: what comes late has what is left over, and one round at least.
_ALL = [
    Scenario("known", "Every status known: a backlog is drained", "backlog", _known, 5, 7.4, 3, 1.5),
    Scenario("missing", "Every status missing, lookup answers in 5 ms", "backlog", _missing, 5, 3.3, 2, 0.4),
    Scenario("dead", "Lookup dead", "backlog", _dead, 5, 2.1, 2, 0.5),
    Scenario("latency", _DELAY, "live", _live, 5, 8.6, 1, 0.7),
    Scenario("partitions", "Partitions in one worker", "backlog", _partitions, 5, 2.4, 2, 0.4),
    Scenario("table", "Many statuses: memory and starts", "table", _table, 1, 1.0, 1, 0.3),
    Scenario("hanging", "Lookups hang", "hanging", _hanging, 5, 2.5),
    Scenario("catch-up", "Catching up", "backlog", _catch_up, 1, 1.2),
    Scenario("workers", f"How it scales on {{cores}} cores: {_TOGETHER}", "backlog", _workers, 5, 2.4),
    Scenario("mixed", "Nine of ten known", "backlog", _mixed, 5, 0.9),
    Scenario("idle", "Nothing to do", "idle", _idle, 1, 0.8),
    Scenario("handover", _SILENCE, "handover", _handover, 3, 4.0),
    Scenario("sizes", "Size and compression", "backlog", _sizes, 1, 1.2),
]

SCENARIOS = {each.name: each for each in _ALL}
