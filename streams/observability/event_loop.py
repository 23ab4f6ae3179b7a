"""How late the event loop is: whatever blocks it delays every email of this worker at once."""

import asyncio
from collections.abc import Awaitable, Callable

#: Seconds between two looks. A block shorter than this may fall between them; a longer one never does.
PAUSE = 0.1


async def measure_lag(
    note: Callable[[float], None],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Sleep again and again, and note by how much each sleep was too long; ends only by cancellation.

    Args:
        note: takes a lag in seconds, never below zero.
        clock: monotonic, in seconds.
        sleep: waits so many seconds.
    """
    while True:
        due = clock() + PAUSE
        await sleep(PAUSE)
        note(max(0.0, clock() - due))
