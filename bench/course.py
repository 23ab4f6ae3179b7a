"""Runs scenarios on one broker, round by round, and tells how it goes."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial

from bench.contenders import CONTENDERS, Contender
from bench.core_speed import core_speed
from bench.handover import handover
from bench.idle import idle
from bench.live_rounds import at_rates, while_hanging
from bench.lookups import ask_only, nobody, service
from bench.results import Measured, Results
from bench.rounds import Backlog, Round, drain, fill
from bench.scenarios import LOOKUPS_AT_ONCE, Case, Scale, Scenario
from bench.table_starts import starts
from bench.topics import Topics
from streams.sandbox.kafka import EmbeddedKafka

Told = Callable[[str], None]

#: The broker keeps nothing for longer than a scenario, and is given the memory that it would get in service.
HEAP = "1g"
#: As Kafka's own start script runs it. The embedded broker has the first compiler only, which is right for a
#: short test; here it would take most of a core at any rate, and the delays would be its own.
JVM = ("-server", "-XX:TieredStopAtLevel=4", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
#: So many of the first backlog's contenders go once without being counted: then the broker is compiled, and
#: page cache and processor are warm. Each contender's own warm-up is the first share of every round.
_WARMING = 5
ASKS_ONLY = "bare-questions"
#: A case in which a contender failed as often is not tried again: each time may take minutes to fail.
_FAILURES = 2

Attempt = Callable[[], Iterable[Round]]


class Course:
    """One run of the bench.

    Whatever fails is a result, with its reason, and the rest goes on: a contender, a scenario, the broker.
    """

    def __init__(
        self,
        scale: Scale,
        told: Told,
        keep: Callable[[Results], None],
        rounds: int | None = None,
        only: tuple[str, ...] | None = None,
        also: tuple[Contender, ...] = (),
    ) -> None:
        """Describe a run.

        Args:
            scale: how big.
            told: is told how it goes, a line each time.
            keep: is given what there is after every scenario.
            rounds: instead of the scale's number, however long they take; None: as many as the time allows.
            only: these contenders; None: all.
            also: this app with other settings, beside it wherever it takes part.
        """
        self._also = also
        self._scale = scale
        self._told = told
        self._keep = keep
        self._rounds = rounds
        self._only = only
        self._absent: dict[str, str | None] = {}
        self._failed: dict[tuple[str, str, str], int] = {}
        self._warming = _WARMING if scale.warms else 0
        self._until = 0.0
        self._took = self._once = 0.0  # by the last attempt; in this round by those who are in the first only
        self.results = Results(scale.name)

    def run(self, scenarios: Sequence[Scenario]) -> Results:
        """Run them all.

        Raises:
            EmbeddedKafkaError: there is no broker to be had.
        """
        begin = self._until = time.monotonic()
        self.results.settings = {"broker_heap": HEAP, "broker_jvm": JVM, "brokers": 1, **asdict(self._scale)}
        with ExitStack() as stack:
            topics = one_broker(stack)
            for scenario in scenarios:
                title = scenario.title.format(cores=self.results.machine["cores"])
                measured = self.results.scenarios[scenario.name] = Measured(title)
                self._told(f"— {scenario.name}: {title}")
                self._until += scenario.seconds(self._scale)
                try:
                    if not topics.answers():
                        self._told("  the broker does not answer: a new one is started")
                        stack.close()
                        topics = one_broker(stack)
                    self._run(topics, scenario, measured)
                except Exception as error:
                    self._count(measured, 0, Round("bench", problems=[_said(error)]), 0.0)
                self.results.seconds = round(time.monotonic() - begin, 1)
                self._keep(self.results)
        return self.results

    def _run(self, topics: Topics, scenario: Scenario, measured: Measured) -> None:
        match scenario.kind:
            case "backlog":
                self._backlog(topics, scenario, measured)
            case "hanging":
                self._hanging(topics, scenario, measured)
            case kind:
                for number in self._numbers(scenario):
                    for case in scenario.cases(self._scale):
                        for who in self._present(case.contenders):
                            if number and who.name in case.once:
                                continue
                            run = partial(_KINDS[kind], topics, who, case, self._scale, number)
                            self._attempt(measured, number, case.label, who.name, run)
                            self._once += self._took if who.name in case.once else 0.0

    def _backlog(self, topics: Topics, scenario: Scenario, measured: Measured) -> None:
        with ExitStack() as services:
            entries: list[tuple[Case, str, Attempt]] = []
            backlogs: list[Backlog] = []
            services.callback(lambda: [topics.sweep(backlog.name) for backlog in backlogs])
            for case in scenario.cases(self._scale):
                if (why := _unreadable(case.compression)) is not None:
                    self.results.skipped[f"{scenario.name}, all with {case.compression}"] = why
                    self._told(f"  {case.label} is skipped: {why}")
                    continue
                backlog = fill(topics, case.workload, case.partitions, case.compression, case.members)
                backlogs.append(backlog)
                settings, url = dict(case.settings), ""
                if case.lookup is not None:
                    url = services.enter_context(service(case.lookup)) if case.lookup else nobody()
                    settings["LOOKUP_URL"] = f"{url}/slow"
                for name in case.contenders:
                    if name == ASKS_ONLY:
                        if self._only is None or name in self._only:
                            asks = partial(ask_only, url, case.workload.actions, LOOKUPS_AT_ONCE)
                            entries.append((case, name, _one(asks)))
                        continue
                    for who in self._present((name,)):
                        run = partial(
                            drain,
                            topics,
                            who,
                            backlog,
                            settings=settings,
                            workers=case.workers,
                            members=case.members,
                        )
                        entries.append((case, who.name, _one(run)))
            for case, name, attempt in entries[: self._warming]:
                self._attempt(measured, -1, case.label, name, attempt)
            self._warming = 0
            # A B C A B C …: a slow minute of the machine falls on all of them.
            for number in self._numbers(scenario):
                for case, name, attempt in entries:
                    if not number or name not in case.once:
                        self._attempt(measured, number, case.label, name, attempt)
                        self._once += self._took if name in case.once else 0.0

    def _hanging(self, topics: Topics, scenario: Scenario, measured: Measured) -> None:
        with service(0.005) as url:
            for number in self._numbers(scenario):
                cases = scenario.cases(self._scale)
                for who in self._present(cases[0].contenders):
                    if number and who.name in cases[0].once:
                        continue
                    healthy: float | None = None
                    for case in cases:
                        run = _one(partial(while_hanging, topics, who, case, self._scale, url, healthy))
                        for found in self._attempt(measured, number, case.label, who.name, run):
                            healthy = healthy or found.figures.get("known_p99_ms")
                        self._once += self._took if who.name in case.once else 0.0

    def _numbers(self, scenario: Scenario) -> Iterable[int]:
        """The rounds of a scenario: no more than asked for, and no more than end in time, but always one."""
        most = self._rounds or scenario.rounds(self._scale)
        last = 0.0
        for number in range(most):
            begin = time.monotonic()
            if number and self._rounds is None and begin + last > self._until:
                self._told(f"  {most - number} of {most} rounds are left out: there is no time for them")
                return
            self._once = 0.0
            yield number
            last = time.monotonic() - begin - self._once

    def _attempt(
        self, measured: Measured, number: int, label: str, contender: str, run: Attempt
    ) -> list[Round]:
        """Make one round of one contender; the warm-up has a negative number, and only its failure counts."""
        place = (measured.title, label, contender)
        if self._failed.get(place, 0) >= _FAILURES:
            return []
        speed = core_speed()
        begin = time.monotonic()
        try:
            found = list(run())
        except Exception as error:
            found = [Round(contender, problems=[_said(error)])]
        self._failed[place] = self._failed.get(place, 0) + (
            number >= 0 and any(each.problems for each in found)
        )
        self._took = seconds = time.monotonic() - begin
        for each in found:
            each.case, each.core_speed = each.case or label, speed
            self._count(measured, number, each, seconds)
            seconds = 0.0
        return found

    def _count(self, measured: Measured, number: int, found: Round, seconds: float) -> None:
        shown = "  ".join(f"{name} {_short(value)}" for name, value in found.figures.items())
        text = "; ".join(found.problems) or shown
        name = "warm-up" if number < 0 else f"round {number + 1}"
        took = f"  [{seconds:.0f} s, core {found.core_speed:.1f}]" if seconds else ""
        self._told(f"  {name:<8} {found.contender:<21}{found.case:<25} {text}{took}")
        found.number = number
        if number >= 0 or found.problems:
            measured.rounds.append(found)

    def _present(self, names: Sequence[str]) -> list[Contender]:
        present = []
        for name in names:
            if self._only is not None and name not in self._only:
                continue
            who = CONTENDERS[name]
            if name not in self._absent:
                why = self._absent[name] = who.absent(self._told)
                if why is not None:
                    self.results.skipped[name] = why
                    self._told(f"  {who.title} is skipped: {why}")
            if self._absent[name] is None:
                present += (who, *self._also) if name == "ours" else (who,)
        return present


_KINDS = {"live": at_rates, "table": starts, "idle": idle, "handover": handover}


def one_broker(stack: ExitStack) -> Topics:
    """Start a broker as all measurements have it; it ends with the stack."""
    return Topics(stack.enter_context(EmbeddedKafka(heap=HEAP, jvm_options=JVM)).bootstrap_servers)


def _one(run: Callable[[], Round]) -> Attempt:
    return lambda: [run()]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _unreadable(compression: str) -> str | None:
    """Why our worker cannot read records that are compressed so, or None."""
    from aiokafka import codec

    able = {"none": True, "lz4": codec.has_lz4(), "zstd": codec.has_zstd()}
    return (
        None if able[compression] else f"aiokafka has no {compression} here: its package cramjam is missing"
    )
