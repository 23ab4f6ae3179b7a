"""A contender as processes of its own: started, looked at from outside, ended. They end with the bench.

What is measured is read from /proc, so this needs Linux.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from streams.sandbox.kafka.supervised import SupervisedProcesses

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_ENDS_WITHIN = 20.0  # seconds after SIGTERM


class ProcessFailed(RuntimeError):
    """A process ended that should have run, or did not get its work done in time."""


class Processes:
    """The processes of one round; each leaves its log in the round's folder."""

    def __init__(self, folder: Path) -> None:
        """Start none yet; `folder` is theirs."""
        self.folder = folder
        self._supervised = SupervisedProcesses(grace=2.0)
        self._pids: dict[str, int] = {}

    def start(self, name: str, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start `argv` with nothing of our environment but what every program needs."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        given = [f"{key}={value}" for key, value in {**kept, **environ}.items()]
        command = ["/usr/bin/env", "-i", *given, *argv]
        self._pids[name] = self._supervised.start(name, command, self.log(name), None)

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.folder / f"{name}.log"

    def wait(self, name: str, seconds: float) -> int | None:
        """The exit code of a process, waited for as long; None while it runs."""
        return self._supervised.wait(name, seconds)

    def check(self, name: str) -> None:
        """Look whether it still runs.

        Raises:
            ProcessFailed: it has ended; the text has the end of its log.
        """
        code = self._supervised.wait(name, 0.0)
        if code is not None:
            raise ProcessFailed(f"{name} ended with exit code {code}{self.last_lines(name)}")

    def last_lines(self, name: str, lines: int = 15) -> str:
        """The end of its log, for an error's text."""
        try:
            text = self.log(name).read_text(errors="replace").strip()
        except OSError:
            return "."
        return ".\n  " + "\n  ".join(text.splitlines()[-lines:]) if text else "; its log is empty."

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL if that is not obeyed."""
        if self._supervised.wait(name, 0.0) is None:
            self._supervised.signal(name, signal.SIGTERM)
            if self._supervised.wait(name, _ENDS_WITHIN) is None:
                self._supervised.signal(name, signal.SIGKILL)
                self._supervised.wait(name, _ENDS_WITHIN)

    def close(self) -> None:
        """End everything."""
        self._supervised.close()

    def cpu_seconds(self, *names: str) -> float:
        """User and system time of these processes with their children, since they began."""
        return sum(_cpu_seconds(pid) for name in names for pid in _tree(self._pids[name]))

    def resident_bytes(self, *names: str) -> int:
        """Memory of these processes with their children, as the kernel's RSS has it now."""
        return sum(_resident(pid) for name in names for pid in _tree(self._pids[name]))


def _tree(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        here = waiting.pop()
        found.append(here)
        try:
            for task in os.listdir(f"/proc/{here}/task"):
                children = Path(f"/proc/{here}/task/{task}/children").read_text()
                waiting += [int(child) for child in children.split()]
        except (OSError, ValueError):
            continue
    return found


def _cpu_seconds(pid: int) -> float:
    """See proc(5): utime, stime and those of children that were waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) * _TICK


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
