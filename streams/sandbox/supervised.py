"""Our side of the supervisor process: start it, ask it, and let go of it."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from streams.sandbox import supervisor
from streams.sandbox.errors import SandboxError


class SupervisedProcesses:
    """Processes as one supervisor process holds them; safe to use from several threads."""

    def __init__(self, *, grace: float, remove: Path | None = None, lock: IO[str] | None = None) -> None:
        """Start the supervisor.

        Args:
            grace: seconds between SIGTERM and SIGKILL when a process is ended; 0 kills at once.
            remove: a folder that goes when the supervisor ends.
            lock: a locked file that stays locked until the supervisor ends.
        """
        argv = [
            sys.executable,
            "-I",
            "-S",
            str(Path(supervisor.__file__).resolve()),
            "--parent",
            str(os.getpid()),
        ]
        argv += ["--grace", str(grace)]
        if remove is not None:
            argv += ["--remove", str(remove)]
        self._lock = threading.Lock()
        self._question = 0
        # Its own session: Ctrl-C in a terminal reaches the whole foreground process group, and must not
        # reach the processes before we had a chance to end them in order.
        self._process = subprocess.Popen(  # noqa: S603 our own interpreter and script
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            pass_fds=() if lock is None else (lock.fileno(),),
        )

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def start(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
        archive: tuple[Path, Path] | None = None,
    ) -> int:
        """Start a process and return its id.

        Args:
            name: by which it is signalled and waited for; of one that has ended, it may be used again.
            argv: the command.
            log: its output is appended there; the folder is the one that it works in.
            environ: all of its environment; None: the one that this process had when the supervisor started.
            archive: a file that it will write, and where that belongs.

        Raises:
            SandboxError: it cannot be started.
        """
        paths = [str(path) for path in archive] if archive else None
        given = None if environ is None else dict(environ)
        reply = self._ask(op="start", name=name, argv=list(argv), log=str(log), environ=given, archive=paths)
        return int(reply["pid"])

    def signal(self, name: str, number: int) -> bool:
        """Send a signal; False if the process has ended already."""
        return bool(self._ask(op="signal", name=name, number=number)["sent"])

    def wait(self, name: str, timeout: float) -> int | None:
        """Wait up to `timeout` seconds for the end of a process: its exit code, or None while it runs."""
        code = self._ask(op="wait", name=name, timeout=timeout)["code"]
        return None if code is None else int(code)

    def end(self, names: Sequence[str], grace: float) -> None:
        """End these processes: SIGTERM and, `grace` seconds later, SIGKILL."""
        self._ask(op="end", names=list(names), grace=grace)

    def close(self) -> None:
        """End everything and wait until it is gone; the supervisor's own limits bound the time."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._question += 1
            reply: dict[str, Any] = {}
            try:
                line = json.dumps({**command, "question": self._question})
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()
                # An answer whose question was given up, on Ctrl-C or a test's time-out, is still on its way.
                while reply.get("question") != self._question:
                    reply = json.loads(self._process.stdout.readline())
            except (BrokenPipeError, ValueError) as error:  # ValueError: closed, or the empty line of an end
                raise SandboxError("The supervisor of the processes has ended.") from error
        if "error" in reply:
            raise SandboxError(f"The supervisor of the processes could not do that: {reply['error']}")
        return reply
