"""Rounds in which actions flow at a given rate, and each one's delay is taken: send to `read_committed`."""

from __future__ import annotations

import json
import sys
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench import figures
from bench.contenders import ROOT, Contender, Place
from bench.processes import Processes
from bench.topics import Topics
from bench.workload import ONE_BUTTON, Workload
from streams.observability.quantile import quantile
from streams.sandbox.errors import ProcessFailed
from streams.sandbox.ports import free_port

_SAMPLE = 0.1  # seconds
_WITHIN = 60.0  # seconds, for everything that takes a few
_READY_PATIENCE = 1.0  # seconds that pass after the first emails came through


@dataclass(frozen=True, slots=True)
class Phase:
    """Actions `first` to `after` were sent from `begin` to `end` (monotonic ns) at a rate; 0: at any."""

    rate: int
    first: int
    after: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Flow:
    """Actions that are being sent."""

    producer: str  # the name of its process
    out: Path  # where it says what it sent
    seconds: float  # after which it is given up


class Live:
    """A contender with a producer and a reader beside it."""

    def __init__(
        self,
        topics: Topics,
        contender: Contender,
        workload: Workload,
        partitions: int,
        settings: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        """Make topics, and start the contender's processes and the reader.

        The workload has the most that may be sent.
        """
        self._topics = topics
        self._work = workload
        self._processes = Processes()
        self._folder = self._processes.folder
        self._group = group = f"l{self._folder.name[6:].lower()}-{contender.in_topics}"
        self._partitions = partitions
        self._sent: array[int] = array("q")
        self._times: list[float] = []
        self._cpu: list[float] = []
        self._out: list[float] = []
        self._contender = contender
        self._started: list[str] = []
        self._flows = 0  # that were started
        self.working: list[str] = []
        place = self._place = Place.of(
            topics.bootstrap_servers, group, partitions, self._folder, settings=settings or {}
        )
        topics.make(place.statuses, partitions, cleanup_policy="compact")
        topics.make(place.actions, partitions, message_timestamp_type="CreateTime")
        topics.make(place.emails, partitions)
        topics.fill(place.statuses, workload.statuses())
        for _ in range(workers):
            self.start_worker()
        self._start_load("reader", topic=place.emails, partitions=partitions, most=workload.actions)

    def start_worker(self) -> str:
        """Start one more process of the contender; returns its name."""
        name = f"worker-{len(self._started)}"
        here = replace(self._place, folder=self._folder / name, web_port=free_port())
        here.folder.mkdir()
        self._processes.start(name, self._contender.argv(here), self._contender.environ(here))
        self._started.append(name)
        self.working.append(name)
        return name

    def stop_worker(self, name: str, how: Literal["term", "kill"]) -> None:
        """End one of its processes, and wait until it has ended."""
        self.working.remove(name)
        (self._processes.stop if how == "term" else self._processes.kill)(name)

    def owners(self) -> dict[int, str]:
        """The member of the group that has each partition of the actions; none while it is not settled."""
        return self._topics.owners(self._group, self._place.actions)

    def has_statuses(self) -> bool:
        """Whether the group has committed the whole status topic."""
        found = self._topics.committed(self._group, self._place.statuses, self._partitions)
        return sum(found.values()) >= self._work.people

    def cpu_seconds(self) -> float:
        """User and system time of the contender's processes since they began."""
        return self._processes.cpu_seconds(*self._started)

    def resident_bytes(self) -> int:
        """Memory of those that work."""
        return self._processes.resident_bytes(*self.working)

    def flow(self, plan: Sequence[tuple[int, float]], whom: Literal["all", "known"] = "all") -> list[Phase]:
        """Send at each rate for its seconds, and wait until all of it is committed.

        Args:
            plan: actions a second and seconds, in turn.
            whom: whether actions of people without a status are among them; if not, the rate is that of the
                numbers, some of which are left out.

        Raises:
            ProcessFailed: a process ended, or is not done in time.
        """
        return self.await_sent(self.start_flow(plan, whom))

    def start_flow(self, plan: Sequence[tuple[int, float]], whom: Literal["all", "known"] = "all") -> Flow:
        """Begin to send, and do not wait."""
        self._flows += 1
        first = len(self._sent)
        out = self._folder / f"sent-{first}"
        self._start_load(
            f"producer-{first}",
            topic=self._place.actions,
            workload=asdict(self._work),
            first=first,
            whom=whom,
            plan=list(plan),
            out=str(out),
        )
        return Flow(f"producer-{first}", out, sum(seconds + 1 for _, seconds in plan) + _WITHIN)

    def end_flow(self, flow: Flow) -> list[Phase]:
        """Send no more, and wait until all that was sent is committed."""
        self._processes.stop(flow.producer)
        return self.await_sent(flow)

    def await_sent(self, flow: Flow) -> list[Phase]:
        """Wait until all is sent, and committed.

        Raises:
            ProcessFailed: a process ended, or is not done in time.
        """
        out, done = flow.out, Path(f"{flow.out}.json")
        self.watch(done.exists, flow.seconds, "the producer is not done")
        with out.open("rb") as file:
            self._sent.frombytes(file.read())
        phases = [Phase(**one) for one in json.loads(done.read_text())]
        ends = self._topics.ends(self._place.actions, self._partitions)

        def committed() -> bool:
            found = self._topics.committed(self._group, self._place.actions, self._partitions)
            return all(found[number] >= end for number, end in ends.items())

        self.watch(committed, _WITHIN, "not all actions are committed")
        return phases

    def sustained(self, phase: Phase, settle: float) -> float:
        """Emails a second that came out, producer and reader beside it, while all was sent that went in."""
        begin, end = phase.begin / 1e9 + settle, phase.end / 1e9
        out = figures.at(end, self._times, self._out) - figures.at(begin, self._times, self._out)
        return out / (end - begin)

    def finish(self) -> Delays:
        """Stop all, and return what the reader saw."""
        time.sleep(_READY_PATIENCE)  # for the reader, after the last commit
        self._processes.stop("reader")
        for name in self.working:
            self._processes.stop(name)
        out = self._folder / "reader"
        moments: array[int] = array("q")
        try:
            moments.frombytes(out.read_bytes())
            letters = Path(f"{out}.letters").read_bytes()
        except OSError as error:
            raise ProcessFailed(
                f"the reader left nothing.{self._processes['reader'].last_lines()}"
            ) from error
        return Delays(self._work, self._sent, moments, letters, self._times, self._cpu)

    def close(self) -> None:
        """End everything, and give the disk space back."""
        self._processes.close()
        self._topics.sweep(self._group)

    def _written(self) -> float:
        return float(sum(self._topics.ends(self._place.emails, self._partitions).values()))

    def _start_load(self, name: str, **order: Any) -> None:
        order = {"servers": self._topics.bootstrap_servers, "out": str(self._folder / name), **order}
        module = f"bench.load.{name.partition('-')[0]}"
        argv = [sys.executable, "-m", module, json.dumps(order)]
        self._processes.start(name, argv, {"PYTHONPATH": str(ROOT)})

    def watch(self, done: Callable[[], bool], seconds: float, why: str) -> None:
        """Wait, and take samples.

        Raises:
            ProcessFailed: a process ended, or it is not done in time; `why` says what is not.
        """
        until = time.monotonic() + seconds
        while not done():
            self._times.append(time.monotonic())
            self._cpu.append(self.cpu_seconds())
            self._out.append(self._written() if self._flows else 0.0)
            for name in (*self.working, "reader"):
                self._processes[name].check()
            if time.monotonic() > until:
                raise ProcessFailed(
                    f"{why} after {seconds:.0f} s.{self._processes[self.working[0]].last_lines()}"
                )
            time.sleep(_SAMPLE)


@dataclass(frozen=True, slots=True)
class Delays:
    """When each action was sent (0: left out) and its email read, in monotonic ns."""

    work: Workload
    sent: Sequence[int]
    read: Sequence[int]
    letters: bytes
    times: Sequence[float]
    cpu: Sequence[float]

    def problems(self) -> list[str]:
        """What is wrong with the emails."""
        count = len(self.sent)
        missing = sum(1 for number in range(count) if self.sent[number] and not self.read[number])
        doubled = self.letters.count(9)
        wrong = sum(
            1
            for number in range(count)
            if self.letters[number] in (1, 2)
            and (self.letters[number] == 1) != (self.work.variant(number) == ONE_BUTTON)
        )
        kinds = {"missing": missing, "doubled": doubled, "with a wrong variant": wrong}
        return [f"{number} emails {what}" for what, number in kinds.items() if number]

    def of(self, phase: Phase, settle: float, only: Any = None) -> list[float]:
        """Delays in ms of what was sent in a phase but for its first `settle` seconds, in order of size."""
        begin = phase.begin + int(settle * 1e9)
        return sorted(
            (self.read[number] - self.sent[number]) / 1e6
            for number in range(phase.first, phase.after)
            if self.sent[number] >= begin and (only is None or only(number))
        )

    def figures(self, phase: Phase, settle: float) -> dict[str, float | None]:
        """Quantiles of a phase, and what an action cost in it."""
        ordered = self.of(phase, settle)
        begin, end = phase.begin / 1e9 + settle, phase.end / 1e9
        used = figures.at(end, self.times, self.cpu) - figures.at(begin, self.times, self.cpu)
        return {
            "p50_ms": quantile(ordered, 0.5),
            "p99_ms": quantile(ordered, 0.99),
            "p999_ms": quantile(ordered, 0.999),
            "cpu_us": used / len(ordered) * 1e6,
            "actions": len(ordered),
        }
