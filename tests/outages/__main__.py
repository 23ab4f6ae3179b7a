"""``python -m tests.outages``: take away one thing after the other, and see who tells of it, and when.

Each outage has an installation of its own, and all go on at the same time, for a quarter of an hour. The exit
code is 1 if an outage was not told by all who must, or if somebody was paged for nothing.
"""

import argparse
import json
import logging
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.monitoring.queries import ROOT
from tests.outages import recording, table
from tests.outages.outages import OUTAGES, Outage
from tests.outages.scene import STORE, running
from tests.outages.watch import Watch

DOCUMENT = ROOT / "docs/operations.md"
RECORDED = ROOT / "monitoring/rules/tests/recorded.yaml"
FOLDER = ROOT / ".cache/outages"
_AGAIN_WITHIN = 120.0  # seconds in which emails leave again
_starting = threading.Lock()
_stop = threading.Event()
_began = time.monotonic()


class Outcome(NamedTuple):
    """What came of one outage."""

    row: str | None = None
    test: dict[str, Any] | None = None
    problems: tuple[str, ...] = ()


def _say(line: str) -> None:
    print(f"{time.monotonic() - _began:6.0f} s  {line}", flush=True)  # noqa: T201 - a command's output


def _observe(outage: Outage) -> Outcome:
    """Make one outage, and end it."""

    def say(line: str) -> None:
        _say(f"{outage.name}: {line}")

    try:
        with tempfile.TemporaryDirectory(prefix="outage-") as folder:
            return _observe_in(Path(folder), outage, say)
    except Exception as error:  # the others go on
        traceback.print_exc()
        return Outcome(problems=(f"{outage.name}: {type(error).__name__}: {error}",))


def _observe_in(folder: Path, outage: Outage, say: Callable[[str], None]) -> Outcome:
    with ExitStack() as stack:
        with _starting:  # one after the other: the machine has little to do while an outage is watched
            if _stop.is_set():
                return Outcome()
            say("starting Kafka, a worker, a mailer and Prometheus")
            stack.enter_context(outage.disk(folder / STORE))
            scene = stack.enter_context(running(folder, outage.brokers, outage.worker))
            stack.enter_context(outage.beside(scene))
        _stop.wait(recording.BEFORE)
        watch = Watch(scene, outage, say)
        say("the outage begins")
        watch.begin()
        with outage.take_away(scene):
            watch.run(_stop)
            say(f"was watched for {watch.ended - watch.began:.0f} s")
            test = recording.recorded(scene, outage, watch) if outage.alert in watch.pages else None
            _keep(outage, watch, test)
        if not _stop.is_set():
            emails = scene.worker.counter("confirmation_emails_total")
            scene.worker.wait_counter(emails + 1, "confirmation_emails_total", _AGAIN_WITHIN)
            say("is over: emails leave")
    problems = [f"{outage.name} was not told by: {each}" for each in watch.missing()]
    for_nothing = watch.pages.keys() - {outage.alert} - outage.may_page
    problems += [f"{outage.name} paged for nothing: {each}" for each in for_nothing]
    return Outcome(table.row(outage, watch), test, tuple(problems))


def _keep(outage: Outage, watch: Watch, test: dict[str, Any] | None) -> None:
    """Write what was seen to a file, for whoever wants to look closer."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    told = {str(teller): said for teller, said in watch.told.items()}
    text = json.dumps({"row": table.row(outage, watch), "told": told, "test": test}, indent=1)
    (FOLDER / f"{outage.name}.json").write_text(text)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.outages", description=__doc__)
    names = [outage.name for outage in OUTAGES]
    parser.add_argument("--only", help=f"outages, with commas: {', '.join(names)}")
    parser.add_argument(
        "--keep", action="store_true", help=f"write {DOCUMENT.name} and {RECORDED.name} anew from this run"
    )
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else names
    if unknown := set(chosen) - {*names}:
        parser.error(f"no outage is called {', '.join(sorted(unknown))}")
    outages = [outage for outage in OUTAGES if outage.name in chosen]
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it says a lot while brokers are away
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell's "&" has it ignored
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with ThreadPoolExecutor(len(outages)) as pool:
        try:
            outcomes = dict(zip(outages, pool.map(_observe, outages), strict=True))
        except KeyboardInterrupt:
            _stop.set()
            return 130
    rows = {outage.title: found.row for outage, found in outcomes.items() if found.row is not None}
    _say("what was told:")
    print(table.table(list(rows.values())), flush=True)  # noqa: T201
    if given.keep:
        # Of an outage that was not as it should be, what is written stays as it was.
        good = {outage.title: found for outage, found in outcomes.items() if not found.problems}
        DOCUMENT.write_text(table.into(DOCUMENT.read_text(), {title: rows[title] for title in good}))
        RECORDED.write_text(_merged([found.test for found in good.values() if found.test is not None]))
        _say(f"wrote {DOCUMENT} and {RECORDED}")
    problems = [problem for found in outcomes.values() for problem in found.problems]
    for problem in problems:
        _say(f"PROBLEM {problem}")
    return 1 if problems else 0


def _merged(tests: list[dict[str, Any]]) -> str:
    """Return the file of recorded series with these in the place of older ones of the same outage."""
    old = yaml.safe_load(RECORDED.read_text())["tests"] if RECORDED.exists() else []
    by_name = {test["name"]: test for test in [*old, *tests]}
    made = yaml.safe_dump(
        recording.document(by_name.values()), sort_keys=False, width=110, allow_unicode=True
    )
    return f"---\n# Written by make outages ARGS=--keep: what Prometheus kept of real outages.\n{made}"


if __name__ == "__main__":
    sys.exit(_main())
