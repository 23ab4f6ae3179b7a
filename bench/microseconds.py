"""``python -m bench.microseconds``: where each microsecond of CPU of an action goes, in a real worker.

A worker drains a backlog as in the bench, with a clock at each stage (`bench/peers/timed_worker.py`). What
the clocks add is seen beside it: in each round the worker also runs without them.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench.contenders import CONTENDERS, PEERS, Contender, Place
from bench.course import one_broker
from bench.lookups import service
from bench.rounds import SETTLING, Backlog, drain, fill
from bench.scenarios import PATIENT, SUBSCRIBED
from bench.topics import Topics
from bench.workload import Workload

PARTITIONS = 4
#: By name of a case: its actions, and settings of the worker. A lookup takes 5 ms.
CASES: dict[str, tuple[Workload, dict[str, str]]] = {
    "native": (Workload(240_000), {}),
    "python": (Workload(120_000), {"NATIVE_PASS": "off"}),
    "lookup": (Workload(8_000, missing_every=1, missing=SUBSCRIBED), PATIENT),
}
#: What the turns of the event loops are for: the first row whose words are in a turn's name has it.
_ROWS: dict[str, tuple[str, ...]] = {
    "the rest: what runs at times, and single calls": ("sweep",),
    "lookups: around and in the HTTP client": (
        "Lookup",
        "Flight",
        "lookup",
        "ClientSession",
        "Connector",
        "HTTP",
    ),
    "sockets: the rest": ("_SelectorSocketTransport", "AIOKafkaConnection._read"),
    "consumer: fetch requests, records": ("Fetcher", "fetch", "Fetch"),
    "Faust: hand over from thread to thread, and to the agent": (
        "Agent",
        "ChunkConsumer",
        "MethodQueue",
        "_slurp",
        "ThrowableQueue",
    ),
}
_LOOP = "event loops: select, timers, wake-ups"


def rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    """Return microseconds of CPU an action by row, between two reports: all that the process takes.

    Args:
        before: at the first moment, as the worker wrote it.
        after: at the second one.
    """
    spent: Counter[str] = Counter()
    in_threads = 0
    for thread, clock in after["threads"].items():
        known = before["stages"].get(thread, {})
        stages = {name: ns - known.get(name, 0) for name, ns in after["stages"][thread].items()}
        whole = clock - before["threads"].get(thread, 0)
        in_threads += whole
        spent[_LOOP] += whole - sum(stages.values())
        for name, ns in stages.items():
            spent[_row(name)] += ns
    spent["other threads: the store of statuses"] = after["process"] - before["process"] - in_threads
    actions = after["actions"] - before["actions"]
    return {name: ns / 1000 / actions for name, ns in spent.items()}


def _row(stage: str) -> str:
    if ": " in stage or stage in {"metrics", "garbage collection", "seal batches"}:
        return stage
    found = (row for row, words in _ROWS.items() if any(word in stage for word in words))
    return next(found, "the rest: what runs at times, and single calls")


def timed(contender: Contender, actions: int, report: Path) -> Contender:
    """Return this app with clocks; it writes its report when it has committed so many actions."""

    def environ(place: Place) -> dict[str, str]:
        span = f"{int(actions * SETTLING)}-{actions}"
        return {**contender.environ(place), "BENCH_SPAN": span, "BENCH_REPORT": str(report)}

    argv = [sys.executable, str(PEERS / "timed_worker.py")]
    return replace(contender, argv=lambda _: argv, environ=environ)


def as_table(found: list[dict[str, float]], plain: list[float]) -> Iterable[str]:
    """Give the lines of a table in Markdown: medians of the rounds, the largest first."""
    names = {name for each in found for name in each}
    medians = {name: statistics.median(each.get(name, 0.0) for each in found) for name in names}
    whole = sum(medians.values())
    yield "| µs an action | share | what |"
    yield "|---|---|---|"
    for name, us in sorted(medians.items(), key=lambda each: -each[1]):
        if us >= whole / 500:
            yield f"| {us:.2f} | {us / whole:.0%} | {name} |"
    less = sum(us for us in medians.values() if us < whole / 500)
    yield f"| {less:.2f} | {less / whole:.0%} | less than 0.2 % each |"
    yield f"| {whole:.2f} | 100% | all; without clocks: {statistics.median(plain):.2f} |"


def _measured(
    topics: Topics, backlog: Backlog, settings: Mapping[str, str], folder: Path
) -> tuple[dict[str, float], float]:
    """Return the rows of one round, and the microseconds of one without clocks."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    ours = CONTENDERS["ours"]
    figures = []
    for who in (timed(ours, backlog.workload.actions, report), ours):
        found = drain(topics, who, backlog, settings=settings)
        if found.problems:
            raise click.ClickException("; ".join(found.problems))
        figures.append(found.figures["cpu_us"])
    return rows(*json.loads(report.read_text(encoding="utf-8"))), figures[1]


@click.command(help=__doc__)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--cases", default="native,python,lookup", show_default=True, help="Which, with commas.")
def main(rounds: int, cases: str) -> None:
    """Measure, and print a table for each case."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        topics = one_broker(stack)
        for name in cases.split(","):
            if name not in CASES:
                raise click.UsageError(f"no case is called {name}: there are {', '.join(CASES)}")
            work, settings = CASES[name]
            if work.missing_every:
                settings = {**settings, "LOOKUP_URL": f"{stack.enter_context(service(0.005))}/slow"}
            backlog = fill(topics, work, PARTITIONS)
            _measured(topics, backlog, settings, folder)  # the broker's compilers, and the page cache
            found = [_measured(topics, backlog, settings, folder) for _ in range(rounds)]
            click.echo(f"\n{name}: {work.actions:,} actions, medians of {rounds} rounds\n")
            for line in as_table([each for each, _ in found], [plain for _, plain in found]):
                click.echo(line)


if __name__ == "__main__":
    main()
