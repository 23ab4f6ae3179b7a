"""What scrapers cost the emails. Rounds with and without them take turns: both meet the same machine."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streams.observability.quantile import quantile
from streams.sandbox.worker import Installation, page
from tests.integration.steps import Make, ready, written
from tests.integration.topics import action, keyed, producing

CLIENTS = 16
ROUNDS = 6  # with, and as many without
ACTIONS = 500  # in a round
RATE = 100  # a second
MOST = 20.0  # milliseconds


@contextmanager
def scrapers(port: int) -> Iterator[list[int]]:
    """Clients that ask for /metrics again as soon as they are answered; gives the statuses they got."""
    ended, statuses = threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            statuses.append(page(port, "/metrics")[0])

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        for thread in threads:
            thread.join()


async def feed(place: Installation, first: int) -> None:
    """Send a round's actions at its rate, and wait for their emails."""
    async with producing(place.bootstrap_servers, linger_ms=0) as producer:
        for number in range(first, first + ACTIONS):
            key, value = keyed(action(number))
            await producer.send(place.names.actions, value, key=key)
            await asyncio.sleep(1 / RATE)
    await asyncio.to_thread(place.workers[0].wait_counter, first + ACTIONS, "confirmation_emails_total", 60)


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_sixteen_scrapers_hardly_delay_the_emails(
    installation: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """The p99 of the emails' delay is at most 20 ms longer than without them, in the same minute."""
    place = installation()
    worker = await ready(place)
    await feed(place, 0)  # warms it; does not count
    asked = 0
    for number in range(1, 2 * ROUNDS + 1):
        if number % 2:
            await feed(place, number * ACTIONS)
            continue
        with scrapers(worker.port) as statuses:
            await feed(place, number * ACTIONS)
        assert set(statuses) == {200}
        asked += len(statuses)
    actions, emails = await written(place, (2 * ROUNDS + 1) * ACTIONS)

    def p99(parity: int) -> float:
        delays = [
            (emails[number] - sent) * 1000
            for number, sent in actions.items()
            if number >= ACTIONS and number // ACTIONS % 2 == parity
        ]
        found = quantile(sorted(delays), 0.99)
        assert found is not None
        return found

    without, beside = p99(1), p99(0)
    with capsys.disabled():
        sys.stdout.write(f"\np99 without {without:.0f} ms, beside {asked} scrapes {beside:.0f} ms\n")
    assert beside - without <= MOST
