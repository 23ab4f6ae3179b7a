"""Says how far a long reading is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress

_AFTER = 2.0  # seconds; what is done by then needs no progress
_LINES = 5.0  # seconds between two lines where there is no terminal


class Watching:
    """A context manager; `show` is called as often as one likes."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Name what is read, as in "records"; `clock` gives monotonic seconds."""
        self._what = what
        self._clock = clock
        self._started = self._last = clock()
        self._bar: Progress | None = None

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, read: int, everything: int) -> None:
        """So many records are read, of at most so many (offsets without a record count, too)."""
        now = self._clock()
        if now - self._started < _AFTER:
            return
        terminal = sys.stderr.isatty()
        if now - self._last < (0.1 if terminal else _LINES):
            return
        self._last = now
        rate = read / (now - self._started)
        text = f"{read:,} {self._what} read ({rate:,.0f}/s)"
        if terminal:
            self._show_bar(text, read, everything)
        else:
            share = f", {min(1.0, read / everything):.0%}" if everything else ""
            click.echo(f"{text}{share}", err=True)

    def _show_bar(self, text: str, read: int, everything: int) -> None:
        if self._bar is None:
            self._bar = progress_bar()
            self._bar.add_task(text, total=everything, completed=read)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=text, completed=read, total=everything)


def progress_bar() -> Progress:
    """Make a bar on standard error that leaves nothing behind, after its task's description."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
