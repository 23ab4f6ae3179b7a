"""One process that ends when we do, however that happens: started, looked at and ended."""

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from streams.sandbox.errors import ProcessFailed
from streams.sandbox.supervised import SupervisedProcesses

_LOOK_EVERY = 0.05  # seconds
_LAST_LINES = 15


class Process:
    """A command under a supervisor, with a log of its own. Every method may be called from any thread."""

    def __init__(
        self,
        processes: SupervisedProcesses,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
    ) -> None:
        """Describe a process; nothing runs yet.

        Args:
            processes: the supervisor's.
            name: unique among them; for error messages, too.
            argv: the command.
            environ: all of its environment.
            log: file to which its output is appended; the file's folder is the one that it works in.
        """
        self.name = name
        self.log = log
        self.environ = environ
        self.pid = 0
        self._processes = processes
        self._argv = argv

    def start(self, argv: Sequence[str] | None = None) -> None:
        """Start it, again if it has ended; `argv` in place of its own command.

        Raises:
            SandboxError: it cannot be started.
        """
        command = self._argv if argv is None else argv
        self.pid = self._processes.start(self.name, command, self.log, environ=self.environ)

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.pid != 0 and self._code() is None

    def send(self, number: int) -> bool:
        """Send a signal; False if it has ended already."""
        return self._processes.signal(self.name, number)

    def wait(self, seconds: float = 30) -> int:
        """Wait for its end, and return the exit code; of one ended by a signal, the negative number of that.

        Raises:
            ProcessFailed: it still runs after so many seconds.
        """
        until = time.monotonic() + seconds
        # The supervisor does one thing at a time, so it is asked again and again rather than told to wait.
        while (code := self._code()) is None:
            if time.monotonic() > until:
                raise ProcessFailed(f"The {self.name} still runs after {seconds:g} s.{self.last_lines()}")
            time.sleep(_LOOK_EVERY)
        return code

    def check(self) -> None:
        """Look whether it still runs.

        Raises:
            ProcessFailed: it has ended.
        """
        if (code := self._code()) is not None:
            raise ProcessFailed(f"The {self.name} ended by itself, with exit code {code}.{self.last_lines()}")

    def stop(self, seconds: float = 30) -> int:
        """Send SIGTERM, wait for the end, and return the exit code. Harmless when it has ended.

        Raises:
            ProcessFailed: it still ran after so many seconds, and was killed.
        """
        self.send(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except ProcessFailed:
            self.kill()
            raise

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end. Harmless when it has ended, or never was started."""
        if self.running:
            self.send(signal.SIGKILL)
            self.wait()

    def tail(self, lines: int = 30) -> str:
        """Return the last lines of its log, empty while there is none."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def last_lines(self) -> str:
        """Return the end of its log as the end of an error message."""
        lines = self.tail(_LAST_LINES).splitlines()
        return quoted("Its log ends with:", lines) if lines else " Its log is empty."

    def _code(self) -> int | None:
        return self._processes.wait(self.name, 0.0)


def quoted(head: str, lines: Sequence[str]) -> str:
    """Return lines of a log below their head, each on an indented line of its own."""
    return "".join(f"\n  {line}" for line in [head, *lines])
