"""One round of one contender: a backlog is drained, checked, and measured the same way for everybody.

The clock is the broker's, which stamps every email when it is appended; CPU time is read from outside while
the contender runs. A contender's own figures are not asked for.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bench import figures
from bench.check import check
from bench.contenders import Contender, Place
from bench.own_actions import OwnActions
from bench.processes import TICK, Processes
from bench.topics import Topics
from bench.workload import Workload
from streams.sandbox.errors import ProcessFailed
from streams.sandbox.ports import free_port

SETTLING = 0.2  # share of the emails that is not counted: caches, compilers and tables settle
_SAMPLE = 0.05  # seconds
_STATUSES_WITHIN = 60.0  # seconds
#: It is given up after so many seconds, and so long for each action: a stock Faust does 4,000 a second.
_PATIENCE, _PATIENCE_EACH = 60.0, 0.0003


@dataclass(frozen=True, slots=True)
class Backlog:
    """Topics that are filled already, for all rounds of a scenario."""

    workload: Workload | OwnActions
    name: str  # that its topics begin with
    actions: str
    statuses: str
    partitions: int
    ends: Mapping[int, int]  # of the actions
    compression: str = "none"


@dataclass(slots=True)
class Round:
    """What one round of one contender came to."""

    contender: str
    case: str = ""
    number: int = 0  # of the round: those of the same number are neighbours in time
    figures: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    core_speed: float = 0.0  # of one core just before it, as `bench.core_speed` has it; 0: not taken


def fill(
    topics: Topics,
    workload: Workload | OwnActions,
    partitions: int,
    compression: str = "none",
    members: int = 0,
) -> Backlog:
    """Make and fill the topics of a scenario; with `members`, the actions' is left empty for now."""
    name = f"b{secrets.token_hex(4)}"
    actions, statuses = f"{name}-actions", f"{name}-statuses"
    topics.make(statuses, partitions, cleanup_policy="compact")
    topics.make(actions, partitions, compression_type="producer")
    topics.fill(statuses, workload.statuses())
    if not members:
        topics.fill(actions, workload.records(), compression)
    ends = topics.ends(actions, partitions)
    return Backlog(workload, name, actions, statuses, partitions, ends, compression)


def drain(
    topics: Topics,
    contender: Contender,
    backlog: Backlog,
    *,
    settings: Mapping[str, str] | None = None,
    workers: int = 1,
    members: int = 0,
) -> Round:
    """Let one contender drain a backlog into a topic of its own; a failure is part of the result.

    `workers` processes share the partitions; `settings` are our worker's, besides those of every round. With
    `members`, the contender starts first: the actions come on a topic of their own, all in one moment, when
    so many members of its group have their partitions.
    """
    group = f"r{secrets.token_hex(4)}-{contender.in_topics}"
    processes = Processes()
    emails = f"{group}-emails"
    names = [f"worker-{number}" for number in range(workers)]
    result = Round(contender.name)
    try:
        topics.make(emails, backlog.partitions, compression_type=_output(backlog.compression))
        if contender.own_actions or members:
            own = replace(backlog.workload, actions=max(1, int(backlog.workload.actions * contender.share)))
            backlog = replace(backlog, workload=own, actions=f"{group}-actions")
            topics.make(backlog.actions, backlog.partitions, compression_type="producer")
        place = Place(
            topics.bootstrap_servers,
            group,
            backlog.actions,
            backlog.statuses,
            emails,
            backlog.partitions,
            processes.folder,
            settings=settings or {},
        )
        for name in names:
            here = replace(place, folder=place.folder / name, web_port=free_port())
            here.folder.mkdir()
            processes.start(name, contender.argv(here), contender.environ(here))
        if contender.own_actions or members:
            _await_statuses(topics, processes, place, names)
            if members:
                _await_members(topics, processes, place, members, names)
            ends = topics.fill_at_once(
                backlog.actions, backlog.workload.records(), backlog.partitions, backlog.compression
            )
            backlog = replace(backlog, ends=ends)
        times, cpu, busy, resident = _watch(topics, processes, names, place, backlog)
        for name in names:
            processes.stop(name)
        letters: Literal["decided", "any"] = "decided" if contender.decides else "any"
        checked = check(topics.bootstrap_servers, emails, backlog.partitions, backlog.workload, letters)
        result.problems = checked.problems
        if not checked.problems:
            found = figures.drained(checked.stamps, times, cpu, SETTLING)
            result.figures = {
                "rate": found.rate,
                "cpu_us": found.cpu_us,
                "seconds": found.seconds,
                "actions": backlog.workload.actions,
                "resident_mb": resident / 1e6,
            }
            if members:
                whole = figures.drained(checked.stamps, times, busy, SETTLING)
                result.figures["busy_cores"] = whole.cpu_us * whole.rate / 1e6
            if checked.unanswered:
                result.figures["unanswered"] = checked.unanswered
    except ProcessFailed as error:
        result.problems = [backlog.workload.may_show(str(error))]
    finally:
        processes.close()
        topics.sweep(group)
    return result


def _output(compression: str) -> str:
    return "producer" if compression == "none" else compression


def _await_statuses(topics: Topics, processes: Processes, place: Place, names: Sequence[str]) -> None:
    """Wait until the group has committed the whole status topic."""
    ends = topics.ends(place.statuses, place.partitions)
    until = time.monotonic() + _STATUSES_WITHIN
    while any(
        topics.committed(place.group, place.statuses, place.partitions)[number] < end
        for number, end in ends.items()
    ):
        for name in names:
            processes[name].check()
        if time.monotonic() > until:
            raise ProcessFailed(
                f"no statuses after {_STATUSES_WITHIN:g} s.{processes[names[0]].last_lines()}"
            )
        time.sleep(0.1)


def _await_members(
    topics: Topics, processes: Processes, place: Place, members: int, names: Sequence[str]
) -> None:
    """Wait until so many members of the group share all partitions of the actions."""
    until = time.monotonic() + _STATUSES_WITHIN
    while not shared_by(topics.owners(place.group, place.actions), members, place.partitions):
        for name in names:
            processes[name].check()
        if time.monotonic() > until:
            raise ProcessFailed(f"the group does not have {members} members after {_STATUSES_WITHIN:g} s.")
        time.sleep(0.1)


def shared_by(owners: Mapping[int, str], members: int, partitions: int) -> bool:
    """Whether each partition has an owner, and so many of them are different."""
    return len(owners) == partitions and len(set(owners.values())) == members


def _machine_seconds() -> float:
    """CPU time that this machine's processors have worked, since it runs (see proc(5))."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq) * TICK


def _watch(
    topics: Topics, processes: Processes, names: Sequence[str], place: Place, backlog: Backlog
) -> tuple[list[float], list[float], list[float], int]:
    """Sample until the group has committed the whole backlog.

    Returns times, CPU seconds, those of the whole machine, and the most memory.
    """
    times, cpu, busy, resident = [], [], [], 0
    timeout = _PATIENCE + _PATIENCE_EACH * backlog.workload.actions
    until = time.monotonic() + timeout
    while True:
        times.append(time.time())
        cpu.append(processes.cpu_seconds(*names))
        busy.append(_machine_seconds())
        if len(times) % 4 == 0:
            resident = max(resident, processes.resident_bytes(*names))
            for name in names:
                processes[name].check()
            done = topics.committed(place.group, backlog.actions, backlog.partitions)
            if all(done[number] >= end for number, end in backlog.ends.items()):
                return times, cpu, busy, resident
            if time.monotonic() > until:
                raise ProcessFailed(
                    f"{place.group}: {sum(done.values())} of {sum(backlog.ends.values())} actions after"
                    f" {timeout:g} s.{processes[names[0]].last_lines()}"
                )
        time.sleep(_SAMPLE)
