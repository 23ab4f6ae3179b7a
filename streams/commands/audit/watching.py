"""An audit that is repeated until somebody ends it (``streams audit --watch``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import click

from streams.commands.audit import report
from streams.commands.command_line import NoAnswer

if TYPE_CHECKING:
    from streams.commands.audit.outcome import AuditResult


def watch(
    run: Callable[[float], AuditResult],
    every: float,
    show: Callable[[AuditResult], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> NoReturn:
    """Run an audit again and again.

    A round that Kafka does not answer is told on standard error, and the next one is tried: who watches wants
    to see when it is back.

    Args:
        run: audits; is given the seconds since the first round began.
        every: seconds from the beginning of one round to that of the next, at least. After a round that takes
            longer the next one follows at once.
        show: prints one result.
        clock: gives monotonic seconds.
        sleep: waits so many seconds.
    """
    first = clock()
    while True:
        began = clock()
        try:
            found = run(began - first)
        except NoAnswer as error:
            click.echo(f"{_now()}  {error.message}", err=True)
        else:
            show(found)
        sleep(max(0.0, began + every - clock()))


class Lines:
    """Prints each round as a line, and each place that is missing, doubled or unreadable once."""

    def __init__(self, topic: str, listed: int) -> None:
        """Of the places of `topic` the first `listed` of each round are named."""
        self._topic = topic
        self._listed = listed
        self._named: set[str] = set()

    def show(self, found: AuditResult) -> None:
        """Print what is new, then the sums with the time."""
        *lines, sums = report.as_lines(found, self._topic, self._listed)
        for line in lines:
            if line.startswith(report.NAMING) and line not in self._named:
                self._named.add(line)
                click.echo(line)
        verdict = "" if found.holds else "  NOT SOUND"
        click.echo(f"{_now()}  {sums}, {found.in_flight:,} in flight{verdict}")


def _now() -> str:
    return report.time_of(int(time.time()) * 1000).replace(".000", "")
