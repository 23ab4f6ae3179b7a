"""``python -m tests.chaos``: everything breaks, in a seeded order, and every action gets its one email."""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
from pathlib import Path

from tests.chaos import schedule as schedules
from tests.chaos.damage import full_store, may_mount
from tests.chaos.run import run


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command's output


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for which actions are fed (10)")
    parser.add_argument("--actions", type=int, default=1_000_000, help="how many (1,000,000)")
    parser.add_argument("--seed", type=int, help="of the schedule of faults (a random one)")
    parser.add_argument("--schedule", type=Path, help="a file with a schedule, instead of a seed's")
    parser.add_argument("--only", help="faults to draw from, with commas (all)")
    given = parser.parse_args()
    seconds = given.minutes * 60
    if given.schedule is not None:
        _say(f"schedule from {given.schedule}")
        schedule = schedules.load(given.schedule.read_text())
    else:
        seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
        kinds = given.only.split(",") if given.only else list(schedules.KINDS)
        if not given.only and not may_mount():
            kinds.remove(full_store.__name__)
            _say(
                f"{full_store.__name__} is left out: this user may not mount a tmpfs, which is its small disk"
            )
        schedule = schedules.draw(seed, seconds, kinds)
        _say(f"seed {seed}")
    _say(schedules.dump(schedule).rstrip())
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it says a lot while brokers die
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell's "&" has it ignored
    signal.signal(
        signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)
    )  # end brokers and workers too
    try:
        outcome = asyncio.run(run(given.actions, given.actions / seconds, schedule, _say))
    except KeyboardInterrupt:
        return 130
    for line in outcome.report:
        _say(line)
    return 0 if outcome.clean else 1


if __name__ == "__main__":
    sys.exit(_main())
