"""A sign of life for a container's health check: a file that is touched as long as the mailer is at work.

A server that takes no letters is no reason to be unhealthy: a restart would not help, and the letters wait.
"""

from __future__ import annotations

from pathlib import Path

from examples.web import WITHIN


class Pulse:
    """The mailer's side: a beat in every round of its loop."""

    def __init__(self, file: str) -> None:
        """Name the file; an empty name: no file."""
        self._file = Path(file) if file else None

    def be_writable(self) -> None:
        """Try to write the file, and leave no beat: a mailer that has not begun is not at work.

        Raises:
            OSError: it cannot be written, or made.
        """
        if self._file is not None:
            self._file.touch()
            self._file.unlink()

    def beat(self) -> None:
        """Touch it."""
        if self._file is not None:
            self._file.touch()


def is_alive(file: str, now: float) -> bool:
    """Whether there was a sign lately; `now` in seconds since the epoch."""
    try:
        return now - Path(file).stat().st_mtime < WITHIN
    except OSError:
        return False
