"""The processes of one round: started, looked at from outside, ended. They end with the bench.

What is measured is read from /proc, so this needs Linux.
"""

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from streams.sandbox.errors import ProcessFailed
from streams.sandbox.process import Process
from streams.sandbox.supervised import SupervisedProcesses

#: Seconds, in which the kernel counts CPU time.
TICK = 1 / os.sysconf("SC_CLK_TCK")
_ENDS_WITHIN = 20.0  # seconds after SIGTERM


class Processes:
    """The processes of one round by name, and the round's folder, which goes with them; logs are there."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self._supervised = SupervisedProcesses(grace=2.0, remove=self.folder)
        self._by_name: dict[str, Process] = {}

    def __getitem__(self, name: str) -> Process:
        return self._by_name[name]

    def start(self, name: str, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start `argv` with nothing of our environment but what every program needs."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        log = self.folder / f"{name}.log"
        self._by_name[name] = Process(self._supervised, name, argv, {**kept, **environ}, log)
        self._by_name[name].start()

    def stop(self, name: str) -> None:
        """Send SIGTERM, and SIGKILL if that is not obeyed."""
        with contextlib.suppress(ProcessFailed):  # that a peer does not end is no part of what is measured
            self._by_name[name].stop(_ENDS_WITHIN)

    def kill(self, name: str) -> None:
        """Send SIGKILL, and wait for the end."""
        self._by_name[name].kill()

    def close(self) -> None:
        """End everything, and give the disk space back."""
        self._supervised.close()

    def cpu_seconds(self, *names: str) -> float:
        """User and system time of these processes with their children, since they began."""
        return sum(_cpu_seconds(pid) for name in names for pid in _tree(self._by_name[name].pid))

    def resident_bytes(self, *names: str) -> int:
        """Memory of these processes with their children, as the kernel's RSS has it now."""
        return sum(_resident(pid) for name in names for pid in _tree(self._by_name[name].pid))


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
    return sum(map(int, fields[11:15])) * TICK


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
