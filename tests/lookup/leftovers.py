"""What a lookup must not leave behind or cost: tasks, sockets, warnings, log lines, stalls, memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import time
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.timing import until

SECRETS = ("ana@example.org", "c0ntact-ref", "s3cret", "Basic ", "ECHO")
"""What no log line may hold: of the question, of the credentials, of the reply."""


def open_files() -> int:
    """Descriptors that this process has open."""
    return len(os.listdir("/proc/self/fd"))


@contextlib.asynccontextmanager
async def nothing_left(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """What happens inside leaves the tasks and descriptors that there were, and nothing in any log."""
    # or what an earlier test of this process forgot would be closed, and heard, below
    gc.collect()
    gc.freeze()  # and the collections below need not walk through all that other tests have left in memory
    tasks, files = asyncio.all_tasks(), open_files()
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(str(about)))
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
        await until(lambda: asyncio.all_tasks() <= tasks and open_files() <= files)
        assert asyncio.all_tasks() - tasks == set()
        assert open_files() == files
        gc.collect()
    assert complaints == []
    assert [str(warning.message) for warning in warned] == []
    for record in caplog.records:
        if record.funcName == "default_exception_handler":
            continue  # of an earlier test's loop, whose last future went now: this loop's are in `complaints`
        line = f"{record.name}: {record.getMessage()} {record.exc_text or ''} {record.exc_info or ''}"
        assert record.levelno < logging.INFO, line
        assert not any(secret in line for secret in SECRETS), line


@dataclass
class Strain:
    """The worst that was seen while watching."""

    stall: float = 0.0  # seconds of computing between two ticks that are due 1 ms apart
    memory: int = 0  # bytes resident at the peak, beyond those at the start


def _resident(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def _forget_the_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
        peak.write("5")  # resets VmHWM; see proc(5)


@contextlib.asynccontextmanager
async def watching_strain() -> AsyncIterator[Strain]:
    """Tick on the loop and note the longest computing between two ticks, and the process's peak of memory.

    The thread's CPU clock, because on a busy machine the wall clock also counts other processes' turns.
    """
    gc.collect()
    strain, before = Strain(), _resident("VmRSS:")
    _forget_the_peak()

    async def tick() -> None:
        while True:
            start = time.thread_time()
            await asyncio.sleep(0.001)
            strain.stall = max(strain.stall, time.thread_time() - start)

    ticking = asyncio.create_task(tick())
    try:
        await asyncio.sleep(0)  # the first tick has begun
        yield strain
        await asyncio.sleep(0.002)  # and the last one has ended
        strain.memory = _resident("VmHWM:") - before
    finally:
        ticking.cancel()
