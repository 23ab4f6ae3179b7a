"""A lane with the native pass does what the lane without it does, whatever becomes of its transactions."""

from __future__ import annotations

import random

import pytest

from streams.delivery.fetched import Fetched
from streams.native.email_batch import ProduceBatch
from streams.observability.metrics import Metrics
from tests.fuzz.mutations import ACTIONS, good_action, strange
from tests.fuzz.wire import CODECS, batches
from tests.native.built import KnownStatuses, NoLookups, processor
from tests.native.lanes import Fetch, Taken, native_passes, taken

pytestmark = pytest.mark.usefixtures("virtual_time")


def fetched(seed: int, records: int, strange_share: float) -> tuple[list[Fetch], KnownStatuses]:
    """A log of some fetches, part of whose records are strange, and part of whose statuses are known."""
    dice = random.Random(seed)
    fetches: list[Fetch] = []
    statuses, first = KnownStatuses(), dice.randrange(1 << 30)
    while records > 0:
        count = min(records, dice.randrange(1, 120))
        sent = [
            strange(dice, ACTIONS) if dice.random() < strange_share else good_action(dice.randrange(1_000))
            for _ in range(count)
        ]
        statuses.know((each.value for each in sent), lambda _: dice.choice([True, False, False, None]))
        fetches.append((batches(sent, first, dice.choice(CODECS), dice.randrange(1, 60)), ()))
        first += count + dice.randrange(3)  # what lies between was compacted away
        records -= count
    return fetches, statuses


def same(expected: Taken, found: Taken) -> None:
    assert found.written["emails"] == expected.written["emails"]
    assert found.written["dlq"] == expected.written["dlq"]
    assert found.counts == expected.counts
    assert found.delays == expected.delays
    assert found.offset == expected.offset
    assert found.held == expected.held == (0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_both_kinds_of_lanes_write_and_count_the_same(seed: int) -> None:
    """Emails with bytes and order, dead letters, metrics, delays, offsets: of usual and strange records."""
    fetches, statuses = fetched(seed, 600, 0.3)
    found = await taken(fetches, statuses, natively=True)
    same(await taken(fetches, statuses, natively=False), found)
    assert found.judged["native", ""] > 100
    assert {why for path, why in found.judged if path == "python"} >= {"value", "status"}


@pytest.mark.parametrize("seed", range(4))
async def test_what_must_be_looked_at_again_is_written_once_and_the_same(seed: int) -> None:
    """Transactions that fail, whose answer is lost, or whose batch is refused: unfolded, nothing changes.

    Neither where statuses are missing, and no lookup is asked since the breaker is open.
    """
    dice = random.Random(seed)
    fetches, statuses = fetched(seed, 600, 0.2)
    if seed % 2:
        statuses.lookups = NoLookups(probed=lambda _: False)
    endings = dice.choices(["done", "done", "done", "failed", "lost", "refused"], k=24)
    found = await taken(fetches, statuses, endings, natively=True)
    same(await taken(fetches, statuses, natively=False), found)
    assert found.in_batches > 1


async def test_where_hardly_a_record_is_usual_only_one_fetch_in_eight_is_tried() -> None:
    """With each status to be asked for, a stop at each record costs more than Python; the same leaves."""
    fetches: list[Fetch] = [
        (batches([good_action(number) for number in range(40)], 40 * place, 0, 40), ()) for place in range(12)
    ]
    found = await taken(fetches, KnownStatuses(), natively=True)
    same(await taken(fetches, KnownStatuses(), natively=False), found)
    assert found.judged == {("python", "status"): 80, ("python", "unusual"): 400}


async def test_a_batch_has_memory_for_what_was_fetched_and_no_more_than_it_may_have() -> None:
    """To clear as much as a whole batch may have would cost more than a handful of actions."""
    statuses, metrics = KnownStatuses(), Metrics("actions", "statuses")
    passes = native_passes(statuses, processor(statuses), metrics)
    for size, inflated, expected in ((100, 0, 16_784), (100, 50, 16_984), (1_000, 0, 20_000)):
        fetched = Fetched(bytes(size), (), 0, 1, 1, 0, {0: bytes(inflated)})
        assert passes.begin(fetched, 0) is not None
        batch = passes.new_batch(fetched)
        assert isinstance(batch, ProduceBatch)
        assert batch.emails.state.room == expected
