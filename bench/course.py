"""Runs scenarios on one broker, round by round, and tells how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from bench.contenders import CONTENDERS, Contender
from bench.live_rounds import at_rates, while_hanging
from bench.lookups import ask_only, nobody, service
from bench.results import Measured, Results
from bench.rounds import Round, drain, fill
from bench.scenarios import Case, Scale, Scenario
from bench.table_starts import starts
from bench.topics import Topics
from streams.embedded import EmbeddedKafka

Told = Callable[[str], None]

#: The broker keeps nothing for longer than a scenario, and is given the memory that it would get in service.
HEAP = "1g"
#: So many go once without being counted: then broker, page cache and processor are warm. Each contender's
#: own warm-up is the first share of every round.
_WARMING = 2
ASKS_ONLY = "bare-questions"


class Course:
    """One run of the bench."""

    def __init__(
        self, scale: Scale, told: Told, rounds: int | None = None, only: tuple[str, ...] | None = None
    ) -> None:
        """Describe a run; `rounds` instead of the scale's, and only these contenders where given."""
        self._scale = scale
        self._told = told
        self._rounds = rounds
        self._only = only
        self._absent: dict[str, str | None] = {}
        self.results = Results(scale.name)

    def run(self, scenarios: Sequence[Scenario]) -> Results:
        """Run them all.

        Raises:
            EmbeddedKafkaError: there is no broker to be had.
        """
        begin = time.monotonic()
        self.results.settings = {"scale": self._scale.name, "broker_heap": HEAP, "brokers": 1}
        with EmbeddedKafka(heap=HEAP) as kafka:
            topics = Topics(kafka.bootstrap_servers)
            for scenario in scenarios:
                self._told(f"— {scenario.name}: {scenario.title}")
                measured = self.results.scenarios[scenario.name] = Measured(scenario.title)
                most = scenario.most_rounds if self._scale.warms else max(1, scenario.quick_rounds)
                rounds = self._rounds or min(self._scale.rounds, most)
                self._run(topics, scenario, rounds, measured)
        self.results.seconds = round(time.monotonic() - begin, 1)
        return self.results

    def _run(self, topics: Topics, scenario: Scenario, rounds: int, measured: Measured) -> None:
        match scenario.kind:
            case "backlog":
                self._backlog(topics, scenario, rounds, measured)
            case "live":
                self._live(topics, scenario, rounds, measured)
            case "hanging":
                self._hanging(topics, scenario, rounds, measured)
            case "table":
                for number in range(rounds):
                    for case in scenario.cases(self._scale):
                        self._keep(
                            measured, number, case.label, starts(topics, case.workload, case.partitions)
                        )

    def _backlog(self, topics: Topics, scenario: Scenario, rounds: int, measured: Measured) -> None:
        with ExitStack() as services:
            entries: list[tuple[Case, Callable[[], Round]]] = []
            backlogs = []
            for case in scenario.cases(self._scale):
                if (why := _unreadable(case.compression)) is not None:
                    self.results.skipped[f"{scenario.name}, {case.label}"] = why
                    self._told(f"  {case.label} is skipped: {why}")
                    continue
                backlog = fill(topics, case.workload, case.partitions, case.compression)
                backlogs.append(backlog)
                settings, url = dict(case.settings), ""
                if case.lookup is not None:
                    url = services.enter_context(service(case.lookup)) if case.lookup else nobody()
                    settings["LOOKUP_URL"] = f"{url}/answers"
                for name in case.contenders:
                    if name == ASKS_ONLY:
                        if self._only is None or name in self._only:
                            entries.append((case, partial(ask_only, url, case.workload.actions)))
                        continue
                    for who in self._present((name,)):
                        run = partial(drain, topics, who, backlog, settings=settings, workers=case.workers)
                        entries.append((case, run))
            for case, run in entries[:_WARMING] if self._scale.warms else []:
                self._keep(measured, -1, case.label, run())
            for number in range(rounds):  # A B C A B C …: a slow minute of the machine falls on all of them
                for case, run in entries:
                    self._keep(measured, number, case.label, run())
            for backlog in backlogs:
                topics.delete(backlog.actions, backlog.statuses)

    def _live(self, topics: Topics, scenario: Scenario, rounds: int, measured: Measured) -> None:
        for number in range(rounds):
            for case in scenario.cases(self._scale):
                for who in self._present(case.contenders):
                    for found in at_rates(topics, who, case, self._scale):
                        self._keep(measured, number, found.case, found)

    def _hanging(self, topics: Topics, scenario: Scenario, rounds: int, measured: Measured) -> None:
        with service(0.005) as url:
            for number in range(rounds):
                healthy = None
                for case in scenario.cases(self._scale):
                    found = while_hanging(topics, case, self._scale, url, healthy)
                    healthy = healthy or found.figures.get("known_p99_ms")
                    self._keep(measured, number, case.label, found)

    def _keep(self, measured: Measured, number: int, label: str, found: Round) -> None:
        """Tell of a round, and count it unless it was the warm-up; a failure counts in any case."""
        found.case = label
        shown = "  ".join(f"{name} {_short(value)}" for name, value in found.figures.items())
        text = shown or "; ".join(found.problems)
        name = "warm-up" if number < 0 else f"round {number + 1}"
        self._told(f"  {name:<8} {found.contender:<21}{label:<25} {text}")
        if number < 0:
            found.figures = {}
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
                present.append(who)
        return present


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _unreadable(compression: str) -> str | None:
    """Why our worker cannot read records that are compressed so, or None."""
    from aiokafka import codec

    able = {"none": True, "lz4": codec.has_lz4(), "zstd": codec.has_zstd()}
    return (
        None if able[compression] else f"aiokafka has no {compression} here: its package cramjam is missing"
    )
