"""Strange records by the hundred thousand through both paths."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.fuzz.mutations import ACTIONS, good_action, strange
from tests.fuzz.wire import CODECS, batches
from tests.native.both_paths import by_python, natively
from tests.native.built import KnownStatuses

#: Records of one log.
_EACH = 250


#: Parts of the long test, and records of one.
_PARTS, _PART = 10, 100_000


def fuzz(records: int, first_seed: int = 0) -> Counter[str]:
    """Let so many records through both paths; return how many were judged natively, and why not."""
    taken: Counter[str] = Counter()
    for seed in range(first_seed, first_seed - (-records // _EACH)):
        dice = random.Random(seed)
        sent = [
            strange(dice, ACTIONS) if dice.random() < 0.7 else good_action(dice.randrange(1_000))
            for _ in range(_EACH)
        ]
        statuses = KnownStatuses()
        statuses.know(
            (each.value for each in sent), lambda _, dice=dice: dice.choice([True, False, False, None])
        )  # type: ignore[misc]  # the default binds it now
        log = batches(sent, dice.randrange(1 << 40), dice.choice(CODECS), dice.randrange(1, 120))
        room = dice.choice([900_000, 900_000, 20_000, 4_000])
        expected, found = by_python(log, statuses), natively(log, statuses, room=room)
        for name in ("emails", "others", "outcomes", "timestamps", "next_offset"):
            assert getattr(found, name) == getattr(expected, name), f"seed {seed} differs in its {name}"
        taken["natively"] += found.natively
        taken += found.whys
    return taken


def test_strange_records_come_to_the_same_on_both_paths() -> None:
    """Bytes, headers, keys and timestamps of emails, dead letters, counts: none differs in 5,000 records."""
    assert fuzz(5_000)["natively"] > 1_000


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", range(_PARTS))
def test_a_million_strange_records_come_to_the_same_on_both_paths(part: int) -> None:
    """The same for 1,000,000 records in ten parts: a quarter of an hour on a quiet machine."""
    taken = fuzz(_PART, part * _PART // _EACH)
    assert taken["natively"] > _PART / 5
    assert {"VALUE", "STATUS", "TRACE", "SIZE"} <= taken.keys()
