"""How far a long command is: a bar on a terminal, elsewhere a line now and then. Always on standard error."""

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress

_AFTER = 2.0  # seconds; what is done by then needs no progress
_LINES = 5.0  # seconds between two lines where there is no terminal
_FRAMES = 0.1  # seconds between two changes of the bar

#: Is told (done, all there is to do at most) now and then.
OnProgress = Callable[[int, int], None]


class ProgressBar:
    """A context manager, which leaves nothing of the bar behind.

    `show` is for one long piece of work, and says nothing in its first seconds. `begin` and `step` are for
    several pieces, each with a name.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, silent_for: float = _AFTER) -> None:
        """Start the time.

        Args:
            clock: gives monotonic seconds.
            silent_for: seconds; before, nothing is said, as a short command needs no progress.
        """
        self._clock = clock
        self._silent_for = silent_for
        self._started = clock()
        self._last = self._started
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the terminal. May be called more than once."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def counting(self, what: str) -> OnProgress:
        """Return a function that shows how many of `what`, as in "records read", are done, and how fast."""
        return lambda done, total: self.show(f"{done:,} {what} ({self._rate(done):,.0f}/s)", done, total)

    def show(self, text: str, done: int, total: int) -> None:
        """So much is done, of at most `total` (0: nobody knows). Call it as often as you like."""
        now = self._clock()
        terminal = _can_draw()
        since_last = now - self._last
        if now - self._started < self._silent_for or since_last < (_FRAMES if terminal else _LINES):
            return
        self._last = now
        if terminal:
            self._draw(text, done, total)
        else:
            click.echo(f"{text}, {min(1.0, done / total):.0%}" if total else text, err=True)

    def begin(self, doing: str, total: int = 0) -> None:
        """Another piece of work begins, of `total` steps (0: nobody knows)."""
        if _can_draw():
            self._draw(doing, 0, total)
        elif self._clock() - self._started >= self._silent_for:
            click.echo(f"{doing} …", err=True)

    def step(self, done: int) -> None:
        """So many steps of the present piece of work are done."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)

    def _rate(self, done: int) -> float:
        return done / max(0.001, self._clock() - self._started)

    def _draw(self, text: str, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", total=None)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=text, total=total or None, completed=done)


def _can_draw() -> bool:
    """Whether a line can be painted over; a dumb terminal cannot."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
