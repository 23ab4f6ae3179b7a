"""How late the event loop is."""

import asyncio
import time

from streams.observability.event_loop import PAUSE, measure_lag


async def test_a_block_is_noted_as_long_as_it_was() -> None:
    """Code that blocks the loop for 300 ms shows as a lag of at least the part that no pause covers."""
    noted: asyncio.Queue[float] = asyncio.Queue()
    task = asyncio.create_task(measure_lag(noted.put_nowait, clock=time.monotonic))
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 - it is the blocking that is looked at
    lag = await noted.get()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert lag >= 0.3 - PAUSE - 0.001


async def test_each_sleep_counts_by_itself() -> None:
    """One late awakening does not make the next ones late; a sleep that is too short counts as none."""
    now = 0.0
    takes = iter([0.1, 0.35, 0.1, 0.09])
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        assert seconds == PAUSE
        try:
            now += next(takes)
        except StopIteration:
            raise asyncio.CancelledError from None

    task = asyncio.create_task(measure_lag(noted.append, clock=lambda: now, sleep=sleep))
    await asyncio.wait([task])
    assert [round(lag, 6) for lag in noted] == [0.0, 0.25, 0.0, 0.0]
