"""Fetches at a pace that the number of partitions allows.

aiokafka names every assigned partition in every fetch request (it has no fetch sessions, KIP-227), and asks
again as soon as the last answer is in. With data trickling into 64 partitions, that is many requests a second
that each cost client and broker milliseconds and bring a handful of records. What waits meanwhile comes with
the next one. A fetch that finds nothing waits at the broker as before: the first record comes at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

#: Seconds of pause that one partition in the last fetch request is worth.
PAUSE = 0.0002


def pace_fetches(fetcher: Any) -> None:
    """Make an aiokafka `fetcher` pause between two fetches from one broker, the longer the more they cost."""
    fetch = fetcher._proc_fetch_request
    ready_at: dict[int, float] = {}

    async def fetch_paced(assignment: Any, node_id: int, request: Any) -> Any:
        loop = asyncio.get_running_loop()
        try:
            if (wait := ready_at.get(node_id, 0.0) - loop.time()) > 0:
                await asyncio.sleep(wait)
            return await fetch(assignment, node_id, request)
        except asyncio.CancelledError:
            # The fetcher closes. It awaits each fetch that it has cancelled and expects an answer: an
            # exception would end the close half-way, and the worker's stop would wait until its time-out.
            return False
        finally:
            ready_at[node_id] = loop.time() + PAUSE * sum(len(parts) for _, parts in request.topics)

    fetcher._proc_fetch_request = fetch_paced
