"""``python -m tests.fuzz``: strange records through the whole reading path, and what became of each."""

import argparse
import asyncio
import json
import secrets
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.commands.progress_bar import OnProgress, ProgressBar
from tests.fuzz.path import ROUND, Failure, Round

_KEPT_IN = Path(".cache/fuzz")
_SHOWN = 10


@dataclass
class Fuzzed:
    """What a run came to."""

    records: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, Failure]] = field(default_factory=list)  # with the number of the round


def rounds_of(records: int) -> range:
    """Return the numbers of the rounds with at least so many records."""
    return range(-(-records // ROUND))


async def fuzz(seed: int, rounds: Sequence[int], show: OnProgress = lambda *_: None) -> Fuzzed:
    """Let these rounds of a seed go through; end at the first one with a failure."""
    fuzzed = Fuzzed()
    for number in rounds:
        each = Round(seed, number)
        await each.run()
        fuzzed.records += ROUND
        fuzzed.outcomes += each.outcomes
        fuzzed.failures += [(number, failure) for failure in each.failures]
        if fuzzed.failures:
            break
        show(fuzzed.records, len(rounds) * ROUND)
    return fuzzed


def kept(folder: Path, seed: int, number: int, failure: Failure) -> Path:
    """Write a failure to a file, with all that it takes to make it again."""
    what, topic, offset, sent = failure
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{seed}-{number}-{topic or 'round'}-{offset}.json"
    record = sent and {
        "timestamp": sent.timestamp,
        "key": _hex(sent.key),
        "value": _hex(sent.value),
        "headers": [
            (_hex(name.encode("utf-8", "surrogateescape")), _hex(text)) for name, text in sent.headers
        ],
    }
    found = {"what": what, "seed": seed, "round": number, "topic": topic, "offset": offset, "record": record}
    file.write_text(json.dumps(found, indent=1) + "\n")
    return file


def _hex(part: bytes | None) -> str | None:
    return None if part is None else part.hex()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command's output


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000, help="how many, at least (200,000)")
    parser.add_argument("--seed", type=int, help="of the records (a random one)")
    parser.add_argument("--round", type=int, help="run this round of the seed alone, as a kept file names it")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    _say(f"seed {seed}")
    try:
        with ProgressBar() as progress:
            rounds = rounds_of(given.records) if given.round is None else [given.round]
            fuzzed = asyncio.run(fuzz(seed, rounds, progress.counting("records")))
    except KeyboardInterrupt:
        return 130
    for number, failure in fuzzed.failures[:_SHOWN]:
        _say(f"WRONG {failure.what}: {kept(_KEPT_IN, seed, number, failure)}")
    if len(fuzzed.failures) > _SHOWN:
        _say(f"and {len(fuzzed.failures) - _SHOWN} more in the same round")
    became = ", ".join(f"{kind} {number:,}" for kind, number in sorted(fuzzed.outcomes.items()))
    _say(f"{fuzzed.records:,} records of seed {seed}: {became}; {len(fuzzed.failures)} wrong")
    return 1 if fuzzed.failures else 0


if __name__ == "__main__":
    sys.exit(_main())
