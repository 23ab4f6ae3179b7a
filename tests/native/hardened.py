"""Run in a process with the sanitizers loaded: strange records, damaged batches and a busy index.

``python -m tests.native.hardened LIBRARY RECORDS``; the sanitizers end the process at the first fault.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import click

from streams.native.library import load
from streams.native.status_index import PartitionStatuses, StatusIndex
from tests.fuzz.mutations import ACTIONS, good_action, strange
from tests.fuzz.wire import CODECS, batches
from tests.native.both_paths import differences, natively
from tests.native.built import KnownStatuses

#: Records of one log.
_EACH = 100


def main(path: Path, records: int) -> int:
    """Return the exit code: 1 if the paths differed."""
    library = load(path)
    _use_index(PartitionStatuses(StatusIndex(library, 4_096)))
    for length in (*range(70), 4_079, 4_080, 4_081, 12_345):
        text = bytes(length)
        assert library.cs_crc32c(text, length) == library.cs_crc32c_by_tables(text, length)
    for seed in range(-(-records // _EACH)):
        dice = random.Random(seed)
        sent = [strange(dice, ACTIONS) if dice.random() < 0.6 else good_action(seed) for _ in range(_EACH)]
        statuses = KnownStatuses(library)
        statuses.know((each.value for each in sent), lambda _, dice=dice: dice.random() < 0.5)  # type: ignore[misc]  # the default binds it now
        log = batches(sent, dice.randrange(1 << 40), dice.choice(CODECS), dice.randrange(1, 40))
        if found := differences(log, statuses, of_library=library):
            click.echo(f"seed {seed} differs in {found}")
            return 1
        damaged = bytearray(log)
        for _ in range(3):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        natively(bytes(damaged[: dice.randrange(len(damaged))]), statuses, of_library=library)
    click.echo("ok")
    return 0


def _use_index(statuses: PartitionStatuses) -> None:
    for number in range(5_000):
        key = b"%d" % number * (number % 9)
        statuses.put({key: (number % 2 == 0, None if number % 3 else number)})
        statuses.subscribed(key, 2.0)
        if number % 5 == 0:
            statuses.forget([key])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
