"""A table of many statuses in our worker: how fast it is fed, how fast it starts, what it weighs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench import figures
from bench.contenders import Contender, Place
from bench.processes import Processes
from bench.rounds import Round
from bench.scenarios import Case, Scale
from bench.topics import Topics
from streams.sandbox.errors import ProcessFailed
from streams.sandbox.ports import free_port
from streams.sandbox.worker import page

_SAMPLE = 0.05  # seconds
_READY_WITHIN = 90.0  # seconds
_SETTLED = 1.0  # seconds after it is ready until its memory is looked at


@dataclass(frozen=True, slots=True)
class _Start:
    seconds: float  # from the start of the process until /readyz
    resident: int  # bytes, when it has settled
    times: list[float]
    rows: list[float]  # in the changelog, at those times
    cpu: list[float]


def starts(topics: Topics, contender: Contender, case: Case, scale: Scale, number: int) -> list[Round]:
    """Start a worker three times: with the feed before it, warm (its disk is there), cold (only Kafka's)."""
    del scale, number  # all rounds are alike
    workload, partitions = case.workload, case.partitions
    result = Round(contender.name)
    processes = Processes()
    folder = processes.folder
    group = f"t{folder.name[6:]}".lower()
    place = Place.of(topics.bootstrap_servers, group, partitions, folder / "one")
    changelog = f"{group}-supporter-status-changelog"
    try:
        for name in (place.actions, place.emails):
            topics.make(name, partitions)
        for name in (place.statuses, changelog):
            topics.make(name, partitions, cleanup_policy="compact")
        topics.fill(place.statuses, workload.statuses())
        place.folder.mkdir()
        cold = replace(place, folder=folder / "two")
        cold.folder.mkdir()

        def rows() -> float:
            return float(sum(topics.ends(changelog, partitions).values()))

        fed = _start(processes, contender, "fed", place, rows)
        if fed.rows[-1] < workload.people:
            raise ProcessFailed(f"{fed.rows[-1]:.0f} of {workload.people} statuses are in the changelog")
        rate, cpu_us = _feed(fed, workload.people)
        result.figures = {
            "fed_mb": fed.resident / 1e6,
            "feed_rate": rate,
            "cpu_us_per_row": cpu_us,
            "feed_seconds": fed.seconds,
        }
        for name, here in (("warm", place), ("cold", cold)):
            start = _start(processes, contender, name, here, rows)
            result.figures |= {f"{name}_mb": start.resident / 1e6, f"{name}_seconds": start.seconds}
    except ProcessFailed as error:
        result.problems = [str(error)]
    finally:
        processes.close()
        topics.sweep(group)
    return [result]


def _feed(fed: _Start, people: int) -> tuple[float, float]:
    """Rows a second and CPU microseconds a row, from the first row seen to the last."""
    first = max(index for index, count in enumerate(fed.rows) if count == fed.rows[0])
    last = next(index for index, count in enumerate(fed.rows) if count >= people)
    if last <= first:
        first = last - 1
    count = fed.rows[last] - fed.rows[first]
    seconds = fed.times[last] - fed.times[first]
    used = figures.at(fed.times[last], fed.times, fed.cpu) - figures.at(fed.times[first], fed.times, fed.cpu)
    return count / seconds, used / count * 1e6


def _start(
    processes: Processes, contender: Contender, name: str, place: Place, rows: Callable[[], float]
) -> _Start:
    """Start, wait until it is ready, look, and stop it in good order."""
    place = replace(place, web_port=free_port())
    times, counts, cpu = [], [], []
    begin = time.monotonic()
    processes.start(name, contender.argv(place), contender.environ(place))
    while True:
        times.append(time.monotonic())
        counts.append(rows())
        cpu.append(processes.cpu_seconds(name))
        if page(place.web_port, "/readyz")[0] == 200:
            seconds = time.monotonic() - begin
            break
        processes[name].check()
        if time.monotonic() - begin > _READY_WITHIN:
            raise ProcessFailed(f"not ready after {_READY_WITHIN:g} s.{processes[name].last_lines()}")
        time.sleep(_SAMPLE)
    time.sleep(_SETTLED)
    times.append(time.monotonic())
    counts.append(rows())
    cpu.append(processes.cpu_seconds(name))
    resident = processes.resident_bytes(name)
    processes.stop(name)
    return _Start(seconds, resident, times, counts, cpu)
