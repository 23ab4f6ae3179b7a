"""Lookups of one organisation under arbitrary interleavings of all that can happen to them."""

import asyncio
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.lookup.breaker import State
from streams.lookup.rate import RatePolicy
from streams.messages.decode import LookupOutcome
from tests.lookup.test_organisation import DEADLINE, FAILURE, HEALTHY, NEUTRAL, POLICY, Does, lookup, person
from tests.lookup.virtual_time import run

SECONDS = st.sampled_from([0.0, 0.001, 0.3, 0.9, 1.0, 1.9, 2.0, 2.1])
BEHAVIOURS = st.builds(
    Does,
    reply=st.sampled_from(
        [HEALTHY, FAILURE, FAILURE, NEUTRAL, None, RuntimeError("unmapped"), asyncio.CancelledError()]
    ),
    after=SECONDS,
    stubborn=st.sampled_from([0.0, 0.0, 0.7]),
)


class Ask(NamedTuple):
    wait: float  # seconds after the previous ask
    person: int
    leaves: float | None  # seconds after which the asker has lost interest


ASKS = st.builds(Ask, st.sampled_from([0.0, 0.0, 0.0, 0.3, 1.0]), st.integers(0, 5), st.none() | SECONDS)


@settings(max_examples=250, deadline=None)
@given(
    does=st.lists(BEHAVIOURS, min_size=1, max_size=12),
    asks=st.lists(ASKS, min_size=1, max_size=30),
    concurrency=st.integers(1, 3),
    queue=st.integers(0, 5),
    closes=st.none() | st.floats(0, 8),
    rate=st.just(RatePolicy()) | st.builds(RatePolicy, st.sampled_from([0.4, 3.0, 50.0]), st.integers(1, 4)),
)
def test_every_ask_has_exactly_one_end_in_time(
    does: list[Does],
    asks: list[Ask],
    concurrency: int,
    queue: int,
    closes: float | None,
    rate: RatePolicy,
) -> None:
    """However answers, errors, deadlines, cancellations and the closing interleave, each ask ends once."""
    run(_interleaved(does, asks, concurrency, queue, closes, rate))


async def _interleaved(
    does: list[Does],
    asks: list[Ask],
    concurrency: int,
    queue: int,
    closes: float | None,
    rate: RatePolicy,
) -> None:
    loop = asyncio.get_running_loop()
    async with lookup(*does, Does(HEALTHY), concurrency=concurrency, queue=queue, rate=rate) as (
        lookups,
        service,
        tally,
    ):
        closing = [loop.create_task(_after(closes, lookups.aclose))] if closes is not None else []
        ends: list[list[tuple[float, bool]]] = []
        leaving: set[int] = set()
        for number, ask in enumerate(asks):
            if ask.wait:
                await asyncio.sleep(ask.wait)
            asked_at = loop.time()
            asked = lookups.ask(person(ask.person))
            end: list[tuple[float, bool]] = []
            ends.append(end)
            if isinstance(asked, LookupOutcome):
                end.append((0.0, False))
                continue
            asked.add_done_callback(
                lambda future, end=end, at=asked_at: end.append((loop.time() - at, future.cancelled()))
            )
            if ask.leaves is not None:
                leaving.add(number)
                loop.call_later(ask.leaves, asked.cancel)
        await asyncio.sleep(DEADLINE + 1)
        for number, end in enumerate(ends):
            [(seconds, cancelled)] = end
            assert seconds <= DEADLINE + 1e-6
            assert not cancelled or number in leaving or closes is not None
        assert service.most_out <= concurrency
        if rate.per_second < math.inf:
            for number, since in enumerate(service.asked_at):
                allowed = rate.burst + (service.asked_at[-1] - since) * rate.per_second
                assert len(service.asked_at) - number <= allowed + 1e-3
        assert (lookups.waiting, lookups.queued) == (0, 0)
        assert len(tally.answers) <= len(service.asked)
        await asyncio.gather(*closing)
        if closes is None:
            # Whatever has happened to it, it finds back to a service that has recovered.
            service.does = [Does(HEALTHY)]
            for _ in range(2):
                await asyncio.sleep(POLICY.longest_pause)
                lookups.ask(person(99))
                await asyncio.sleep(0.1)
            assert lookups.state is State.CLOSED


async def _after(seconds: float, action: Callable[[], Any]) -> None:
    await asyncio.sleep(seconds)
    await action()
