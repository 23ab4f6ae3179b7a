"""The pace of fetches."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams.transport.fetching import PAUSE, pace_fetches


class FetchFailed(Exception):
    """Whatever aiokafka may raise."""


class Fetcher:
    """What aiokafka's has of this."""

    def __init__(self, failure: type[Exception] | None = None, seconds: float = 0) -> None:
        self.asked_at: list[float] = []
        self._failure = failure
        self._seconds = seconds

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._seconds)
        if self._failure is not None:
            raise self._failure
        return True


def request(partitions: int) -> Any:
    return SimpleNamespace(topics=[("actions", [(number, 0, 1) for number in range(partitions)])])


async def test_the_more_partitions_the_longer_the_pause() -> None:
    """The next fetch from a broker waits as long as the last one's partitions are worth."""
    fetcher = Fetcher()
    pace_fetches(fetcher)
    for partitions in (100, 1, 1):
        assert await fetcher._proc_fetch_request(None, 0, request(partitions))
    first, second, third = fetcher.asked_at
    assert second - first >= 100 * PAUSE * 0.99
    assert third - second < 100 * PAUSE


async def test_brokers_do_not_wait_for_each_other() -> None:
    """A pause concerns one broker."""
    fetcher = Fetcher()
    pace_fetches(fetcher)
    await fetcher._proc_fetch_request(None, 0, request(100_000))
    async with asyncio.timeout(100_000 * PAUSE / 2):
        await fetcher._proc_fetch_request(None, 1, request(1))


async def test_a_failed_fetch_is_paused_after_too() -> None:
    """What goes wrong is raised, and not repeated faster than what goes right."""
    fetcher = Fetcher(FetchFailed)
    pace_fetches(fetcher)
    for _ in range(2):
        with pytest.raises(FetchFailed):
            await fetcher._proc_fetch_request(None, 0, request(100))
    assert fetcher.asked_at[1] - fetcher.asked_at[0] >= 100 * PAUSE * 0.99


@pytest.mark.parametrize("asked_before", [0, 1], ids=["while it fetches", "while it pauses"])
async def test_a_cancelled_fetch_has_found_nothing(asked_before: int) -> None:
    """The fetcher's close awaits what it has cancelled, and goes on."""
    fetcher = Fetcher(seconds=0 if asked_before else 60)
    pace_fetches(fetcher)
    for _ in range(asked_before):
        await fetcher._proc_fetch_request(None, 0, request(300_000))
    fetch = asyncio.create_task(fetcher._proc_fetch_request(None, 0, request(1)))
    await asyncio.sleep(0)
    fetch.cancel()
    assert await fetch is False
