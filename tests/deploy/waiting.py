"""How the set-up waits: for an event and not for a time, and it says so when that takes long."""

import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from streams.commands.progress_bar import ProgressBar

_LOOK_EVERY = 0.1  # seconds
_LAST_LINES = 40
_WIDTH = 110  # characters of a line of progress


def wait_until(event: Callable[[], bool], what: Callable[[], str]) -> None:
    """Wait for an event; after two seconds say what is waited for, now and then.

    There is no bound on time here: `event` raises when it cannot come any more, and the test's time-out ends
    what goes on for ever.
    """
    with ProgressBar() as progress:
        while not event():
            progress.show(what(), 0, 0)
            time.sleep(_LOOK_EVERY)


def run(
    command: Sequence[str | Path],
    doing: str,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command that may take minutes, with the last line that it wrote as progress.

    Args:
        command: with its arguments.
        doing: what it does, for the progress.
        folder: that it runs in; None: this process's.
        environment: all of its variables; None: this process's.

    Returns:
        What it wrote to standard output.

    Raises:
        AssertionError: it failed; with the last lines that it wrote.
    """
    with (
        tempfile.NamedTemporaryFile(buffering=0) as output,
        tempfile.NamedTemporaryFile(buffering=0) as errors,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=errors) as process,
    ):
        logs = [Path(log.name) for log in (output, errors)]
        try:
            wait_until(
                lambda: process.poll() is not None,
                lambda: ": ".join([doing, *_last(max(logs, key=_written), 1)])[:_WIDTH],
            )
        except BaseException:
            process.kill()
            raise
        assert process.returncode == 0, "\n".join([doing, *(line for log in logs for line in _last(log))])
        return logs[0].read_text()


def _written(log: Path) -> int:
    return log.stat().st_mtime_ns


def _last(log: Path, lines: int = _LAST_LINES) -> list[str]:
    with log.open(errors="replace") as file:
        return [line.rstrip() for line in deque(file, lines)]
