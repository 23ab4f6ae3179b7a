"""When which fault comes: drawn from a seed, written and read as JSON lines. Pure."""

import json
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: Every fault, with the seconds that it and its aftermath take on a slow machine.
KINDS = {
    "kill": 11.0,
    "term": 10.0,
    "stop": 26.0,
    "cut": 26.0,
    "leader": 20.0,
    "group_coordinator": 20.0,
    "transaction_coordinator": 20.0,
    "controller": 20.0,
    "rolling_restart": 45.0,
    "scale": 40.0,
    "deploy": 30.0,
    "spoiled_store": 15.0,
    "deleted_records": 15.0,
    "full_store": 45.0,
}
QUIET = "quiet"
_QUIET_SECONDS = 9.0


class Fault(NamedTuple):
    """One line of a schedule.

    Attributes:
        at: seconds after the first action; later if the one before is not over.
        kind: a name of KINDS, or "quiet".
        pick: 0 to 1, chooses among what can be hit.
    """

    at: float
    kind: str
    pick: float


def draw(seed: int, seconds: float, kinds: Sequence[str] = tuple(KINDS), first: float = 5.0) -> list[Fault]:
    """Draw a schedule that fits into `seconds`: every kind in random order, then again; 1 in 4 is quiet."""
    dice = random.Random(seed)
    schedule: list[Fault] = []
    at = first
    bag: list[str] = []
    while True:
        quiet = len(schedule) % 4 == 3
        if not quiet and not bag:
            bag = dice.sample(list(kinds), len(kinds))
        kind = QUIET if quiet else bag.pop()
        length = (_QUIET_SECONDS if quiet else KINDS[kind]) * dice.uniform(0.9, 1.2)
        if at + length > seconds:
            return schedule
        schedule.append(Fault(round(at, 1), kind, round(dice.random(), 3)))
        at += length


def dump(schedule: Iterable[Fault]) -> str:
    """Write a schedule as JSON lines."""
    return "".join(json.dumps(fault._asdict()) + "\n" for fault in schedule)


def load(text: str) -> list[Fault]:
    """Read what `dump` wrote, and nothing else.

    Raises:
        ValueError: a line is no fault.
    """
    schedule = []
    for line in filter(None, map(str.strip, text.splitlines())):
        try:
            fault = Fault(**json.loads(line))
        except TypeError:
            raise ValueError(f"this line is no fault: {line}") from None
        if fault.kind not in KINDS and fault.kind != QUIET:
            raise ValueError(f"there is no fault {fault.kind!r}: {', '.join(KINDS)}, {QUIET}")
        schedule.append(fault)
    return schedule
