"""A clock that a test moves, and bounds on time that hold on a busy machine.

The bounds are counted by what the machine does meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

_TICK = 0.005  # seconds
_LOOKS = 1_000


class Clock:
    """Stands still, at so many seconds, until it is moved."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], bool]) -> None:
    """Wait for ``condition``; when it does not come the assertion that follows says what is wrong."""
    for _ in range(_LOOKS):  # looks, and not seconds: a busy machine looks less often
        if condition():
            break
        await asyncio.sleep(_TICK)


@asynccontextmanager
async def in_time(seconds: float, slack: float = 0.1) -> AsyncIterator[None]:
    """Assert that what happens inside takes at most `seconds` and `slack` (seconds).

    A task beside it counts the time: it sleeps 5 ms again and again. A machine that makes this task wait
    makes our code wait as well, so each sleep counts as 5 ms however long it was, or as the CPU time that our
    own thread took meanwhile, if that is more.
    """
    counted, cpu = 0.0, time.thread_time()

    def count(least: float) -> None:
        nonlocal counted, cpu
        now = time.thread_time()
        counted += max(least, now - cpu)
        cpu = now

    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK)
            count(_TICK)

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
    count(0.0)
    assert counted <= seconds + slack
