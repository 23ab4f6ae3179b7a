"""How many transactions there are at once: the lanes of one worker share a few slots.

A transaction costs some 2 ms of CPU in the worker and as much in the broker, however little it holds. Lanes
that each commit as fast as they can would spend a core on that at 500 transactions a second, and with many
partitions each of them would hold next to nothing. So a lane waits for a slot before it takes what is ready.
With slots free it commits at once; the more lanes have something, the longer each gathers. There is no
interval to set, and the number of transactions a second does not grow with the number of partitions.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CommitSlots:
    """Hands out slots, first come first served."""

    def __init__(self, at_once: int = 4, rest: float = 0.004, longest: float = 0.1) -> None:
        """Make the slots.

        Args:
            at_once: slots, and so transactions at once.
            rest: seconds before a slot that was given back is handed out again: the event loop's time for all
                else.
            longest: seconds after which a slot is handed on although its transaction is still under way: a
                broker that does not answer delays the partitions that it leads, and no others.
        """
        self._free = asyncio.Semaphore(at_once)
        self._rest = rest
        self._longest = longest

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and give it back at the end."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        overdue = loop.call_at(ends_at := loop.time() + self._longest, self._free.release)
        try:
            yield
        finally:
            # Once it is due it will run, or has run: cancelling it then could lose the slot or hand it out
            # twice.
            if (resumes_at := loop.time() + self._rest) < ends_at:
                overdue.cancel()
                loop.call_at(resumes_at, self._free.release)
