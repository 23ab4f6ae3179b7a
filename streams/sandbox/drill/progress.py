"""How far the drill is: a bar on a terminal, and elsewhere a line whenever something else begins."""

from __future__ import annotations

import sys
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Told:
    """Progress on standard error. As a context manager, takes its bar off the terminal in the end."""

    def __init__(self) -> None:
        """Choose by whether standard error is a terminal."""
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Told:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, doing: str, total: int | None = None) -> None:
        """Something else begins, of so many steps where that is known."""
        if self._bar is None:
            click.echo(f"{doing} …", err=True)
        else:
            self._bar.update(self._task, description=doing, total=total, completed=0)

    def step(self, done: int) -> None:
        """So many of its steps are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
