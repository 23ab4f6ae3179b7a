"""Which state an organisation's circuit breaker is in over time, as its metric shows it."""

import asyncio
import re
import time

from streams.observability.metric_catalogue import BREAKER
from streams.sandbox.worker import WorkerProcess

_LOOK_EVERY = 0.1  # seconds


class BreakerWatch:
    """Looks ten times a second; ``timeline`` holds the changes, in seconds since ``begin``."""

    def __init__(self, worker: WorkerProcess, org_id: int) -> None:
        """Describe the watch over one organisation's breaker."""
        self._worker = worker
        self._state = re.compile(
            rf'^{BREAKER.name}{{organisation="{org_id}",state="(\w+)"}} 1(?:\.0)?$', re.MULTILINE
        )
        self._begin = time.time()
        self.timeline: list[tuple[float, str]] = []

    def begin(self) -> None:
        """Seconds count from now."""
        self._begin = time.time()

    async def follow(self) -> None:
        """Look until cancelled. There is no state before the organisation's first lookup."""
        while True:
            _, page = await asyncio.to_thread(self._worker.get, "/metrics")
            match = self._state.search(page)
            if match and (not self.timeline or self.timeline[-1][1] != match[1]):
                self.timeline.append((time.time() - self._begin, match[1]))
            await asyncio.sleep(_LOOK_EVERY)
