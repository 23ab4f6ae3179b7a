"""What a lookup must not leave behind or cost: tasks, sockets, warnings, log lines, stalls, memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import time
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

SECRETS = ("ana@example.org", "c0ntact-ref", "s3cret", "Basic ", "ECHO")
"""What no log line may hold: of the question, of the credentials, of the reply."""


def open_files() -> int:
    """Descriptors that this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def until(condition: Callable[[], bool], within: float = 2.0) -> None:
    """Wait for ``condition``; after ``within`` seconds let the assertion that follows say what is wrong."""
    deadline = time.monotonic() + within
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel sets no asyncio.Event
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def nothing_left(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """What happens inside leaves the tasks and descriptors that there were, and nothing in any log."""
    gc.collect()
    tasks, files = asyncio.all_tasks(), open_files()
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
        await until(lambda: asyncio.all_tasks() <= tasks and open_files() <= files)
        assert asyncio.all_tasks() - tasks == set()
        assert open_files() == files
        gc.collect()
    assert [str(warning.message) for warning in warned] == []
    for record in caplog.records:
        line = f"{record.name}: {record.getMessage()} {record.exc_text or ''} {record.exc_info or ''}"
        assert record.levelno < logging.INFO, line
        assert not any(secret in line for secret in SECRETS), line


@dataclass
class Strain:
    """The worst that was seen while watching."""

    stall: float = 0.0  # seconds of computing without a turn for anybody else on the loop
    memory: int = 0  # bytes resident, beyond those at the start


def _resident() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def watching_strain() -> AsyncIterator[Strain]:
    """Tick on the loop and note the longest computing between two ticks, and the growth of the process.

    The thread's CPU clock, because on a busy machine the wall clock also counts other processes' turns.
    """
    gc.collect()
    strain, before = Strain(), _resident()

    async def tick() -> None:
        while True:
            start = time.thread_time()
            await asyncio.sleep(0)
            strain.stall = max(strain.stall, time.thread_time() - start)
            strain.memory = max(strain.memory, _resident() - before)
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    try:
        yield strain
    finally:
        ticking.cancel()
