"""This app's worker with a clock at each stage of its way: what each takes of CPU time goes to a file.

A stage's time is its own: what it calls is counted where that belongs. The clock is the thread's CPU time, so
that waiting costs nothing. Stages are entered once for a fetch, a batch, a request or a turn of the event
loop, and never for each action, so that the clocks themselves cost little.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import runpy
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.producer.message_accumulator import BatchBuilder

import streams.native.library as library

#: Of these CPU time is counted from the first number of actions on, until the second are committed.
FROM, TO = map(int, os.environ["BENCH_SPAN"].split("-"))
REPORT = Path(os.environ["BENCH_REPORT"])

_IN_C = {
    "cs_run": "C: the pass",
    "cs_look": "C: headers and checksums of what was fetched",
    "cs_seal": "C: header and checksum of emails",
}
_here = threading.local()
_spent: dict[str, Counter[str]] = {}  # by thread
_clocks: dict[str, int] = {}
_committed = 0
_before: dict[str, Any] = {}


def _stack() -> list[Any]:
    """This thread's open stages, behind the moment from which the last one is to be counted."""
    try:
        return _here.stack  # type: ignore[no-any-return]
    except AttributeError:
        name = threading.current_thread().name
        _here.spent = _spent.setdefault(name, Counter())
        _clocks[name] = time.pthread_getcpuclockid(threading.get_ident())
        _here.stack = [0]
        return _here.stack  # type: ignore[no-any-return]


def enter(stage: str) -> None:
    """Count for this stage until `leave`, but for stages that are entered meanwhile."""
    stack, now = _stack(), time.thread_time_ns()
    if len(stack) > 1:
        _here.spent[stack[-1]] += now - stack[0]
    stack.append(stage)
    stack[0] = now


def leave() -> None:
    """Count for the stage before again."""
    stack, now = _stack(), time.thread_time_ns()
    _here.spent[stack.pop()] += now - stack[0]
    stack[0] = now


def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is a stage."""

    @functools.wraps(function)
    def run(*args: Any, **named: Any) -> Any:
        enter(stage)
        try:
            return function(*args, **named)
        finally:
            leave()

    return run


def put_clock(owner: Any, name: str, stage: str) -> None:
    """Make a function of a module or class a stage."""
    setattr(owner, name, timed(stage, getattr(owner, name)))


class _Socket:
    """A socket whose calls into the kernel are stages."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.recv = timed("socket: receive", real.recv)
        self.send = timed("socket: send", real.send)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _turn(callback: Any) -> str:
    """What a turn of the event loop is for: the coroutine that goes on, or the function that is called."""
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return getattr(callback, "__qualname__", type(callback).__name__)
    if task.get_name().startswith("lane-"):
        return "lane: its transactions"
    coroutine: Any = task.get_coro()
    while getattr(coroutine, "__qualname__", "").endswith(
        "_execute_task"
    ):  # of Faust, around each of its own
        if getattr(coroutine, "cr_await", None) is None:
            break
        coroutine = coroutine.cr_await
    return getattr(coroutine, "__qualname__", type(coroutine).__name__)


def _watch_event_loops() -> None:
    run = asyncio.events.Handle._run

    def run_timed(handle: Any) -> None:
        enter(_turn(handle._callback))
        try:
            run(handle)
        finally:
            leave()

    asyncio.events.Handle._run = run_timed  # type: ignore[method-assign]
    transport: Any = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    begin = transport.__init__

    def begin_timed(self: Any, loop: Any, sock: Any, *args: Any, **named: Any) -> None:
        begin(self, loop, sock, *args, **named)
        self._sock = _Socket(self._sock)

    transport.__init__ = begin_timed


def _watch_library() -> None:
    load = library.load

    def load_timed(*args: Any) -> Any:
        functions = vars(load(*args))
        for name, stage in _IN_C.items():
            functions[name] = timed(stage, functions[name])
        return SimpleNamespace(**functions)

    library.load = load_timed


def _collected(phase: str, _: Any) -> None:
    if phase == "start":
        enter("garbage collection")
    else:
        leave()


def _now() -> dict[str, Any]:
    return {
        "process": time.process_time_ns(),
        "threads": {name: time.clock_gettime_ns(clock) for name, clock in _clocks.items()},
        "stages": {name: dict(spent) for name, spent in _spent.items()},
        "actions": _committed,
    }


def _watch_worker() -> None:
    _watch_library()  # before anybody imports its functions
    from streams.delivery import kafka_transaction
    from streams.delivery.fetched import Run
    from streams.delivery.fetched_lane import FetchedLane
    from streams.delivery.lane import Lane
    from streams.native.email_batch import EmailBatch
    from streams.native.email_pass import NativePass
    from streams.native.passes import NativePasses
    from streams.observability.metrics import Metrics

    for stage, owner, names in (
        ("lane: books", FetchedLane, ("offer", "_advance", "_portion")),
        ("lane: process each action", Lane, ("_advance",)),
        ("lane: books", NativePasses, ("begin", "_step")),
        ("lane: counts of a pass", NativePass, ("counted",)),
        ("lane: memory of batches", EmailBatch, ("__init__",)),
        ("lane: emails into batches", kafka_transaction, ("fill_batches",)),
        ("seal batches", BatchBuilder, ("close", "_build")),
        ("requests: encode", AIOKafkaConnection, ("send",)),
        ("answers: decode", AIOKafkaConnection, ("_handle_frame",)),
        ("metrics", Metrics, ("taken",)),
    ):
        for name in names:
            put_clock(owner, name, stage)
    committed = timed("metrics", Metrics.committed)

    def count(self: Any, partition: int, entries: Any) -> None:
        global _committed
        committed(self, partition, entries)
        before = _committed
        _committed += sum(record.count if type(record) is Run else 1 for record, _ in entries)
        if before < FROM <= _committed:
            _before.update(_now())
        if before < TO <= _committed:
            REPORT.write_text(json.dumps([_before, _now()]), encoding="utf-8")

    Metrics.committed = count  # type: ignore[method-assign]


if __name__ == "__main__":
    gc.callbacks.append(_collected)
    _watch_event_loops()
    _watch_worker()
    sys.argv = ["streams", "worker"]
    runpy.run_module("streams", run_name="__main__")
