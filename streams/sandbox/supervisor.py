"""A small process that owns others (childs, workers) and outlives whoever started them by a moment.

It is run by path (``python -I -S supervisor.py``) and imports the standard library only, so that it is up
in some 30 ms. It reads one JSON command per line from its standard input and answers each with one JSON
line. When its input ends, or its parent is no longer the process that started it, it ends its processes,
removes the folder if that was throw-away, and exits. A SIGKILL of the parent closes the pipe just as a
clean stop does, so there is one way down, and every test of a clean stop exercises it. (A parent's
children may hold copies of the pipe, hence the look at the parent's process id as well.)

Why not ``PR_SET_PDEATHSIG`` alone: it fires when the *thread* that forked ends, not the process, and it
cannot remove a folder. Here, the supervisor forks from its only thread, so it is safe as the second line:
the kernel ends its processes if even the supervisor is killed.
"""

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_PARENT_CHECK_SECONDS = 0.25
_TRAINING_GRACE_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with_supervisor() -> Callable[[], None] | None:
    """What a child runs between fork and exec so that the kernel ends it with us, or None where it cannot."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return set_death_signal


class _Child:
    """One process. A JVM may have been started to write a class archive when it ends."""

    def __init__(self, process: subprocess.Popen[bytes], archive: tuple[Path, Path] | None) -> None:
        self.process = process
        self.archive = archive

    def alive(self) -> bool:
        return self.process.poll() is None

    def ask_to_end(self) -> None:
        """SIGTERM; SIGCONT after it, because a stopped process handles no signal."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGCONT)

    def keep_archive(self) -> None:
        """Put a complete archive in its place; a JVM that was killed left none, or half of one."""
        if self.archive is None:
            return
        written, final = self.archive
        if self.process.returncode in (0, 143, -signal.SIGTERM) and written.exists():
            os.replace(written, final)
        for leftover in written.parent.glob(written.name + "*"):
            leftover.unlink(missing_ok=True)
        self.archive = None


class Supervisor:
    """The processes by name, and the commands on them."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._children: dict[str, _Child] = {}
        self._preexec = _die_with_supervisor()

    def start(
        self,
        name: str,
        argv: list[str],
        log: str,
        environ: dict[str, str] | None = None,
        archive: list[str] | None = None,
    ) -> dict[str, Any]:
        """Start a process in the folder of `log`, to which its output is appended."""
        with open(log, "ab") as output:
            process = subprocess.Popen(  # noqa: S603 the command is our parent's
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
                preexec_fn=self._preexec,
                cwd=Path(log).parent,
            )
        written_and_final = (Path(archive[0]), Path(archive[1])) if archive else None
        self._children[name] = _Child(process, written_and_final)
        return {"pid": process.pid}

    def signal(self, name: str, number: int) -> dict[str, Any]:
        """Send a signal. No race with a reused process id: only we reap this child."""
        child = self._children[name]
        if not child.alive():
            return {"sent": False}
        child.process.send_signal(number)
        if number == signal.SIGSTOP and hasattr(os, "waitid"):  # Python 3.11 has none on macOS
            # Its threads stop one by one: until the last has, an answer may still leave.
            os.waitid(os.P_PID, child.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return {"sent": True}

    def wait(self, name: str, timeout: float) -> dict[str, Any]:
        """Wait up to `timeout` seconds for the end; `code` is null while it runs."""
        child = self._children[name]
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout)
        return {"code": child.process.poll()}

    def end(self, names: list[str] | None = None, grace: float | None = None) -> dict[str, Any]:
        """End these processes, or all: SIGTERM and, `grace` seconds later, SIGKILL; at once without a grace.

        A JVM that still has a class archive to write is given the time for it whatever the grace.
        """
        grace = self._grace if grace is None else grace
        chosen = [child for name, child in self._children.items() if names is None or name in names]
        begin = time.monotonic()
        deadlines = [
            begin + (grace if child.archive is None else _TRAINING_GRACE_SECONDS) for child in chosen
        ]
        for child, deadline in zip(chosen, deadlines, strict=True):
            if deadline > begin:
                child.ask_to_end()
        for child, deadline in zip(chosen, deadlines, strict=True):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
            if child.alive():
                child.process.kill()
        for child in chosen:
            child.process.wait()
            child.keep_archive()
        return {}

    def answer(self, line: bytes) -> bytes:
        """Carry out one command line; what went wrong is an answer too."""
        operations: dict[str, Callable[..., dict[str, Any]]] = {
            "start": self.start,
            "signal": self.signal,
            "wait": self.wait,
            "end": self.end,
        }
        question = None
        try:
            command = json.loads(line)
            question = command.pop("question")
            reply = operations[command.pop("op")](**command)
        except Exception as error:  # every failure is told to the other side, which raises it
            reply = {"error": f"{type(error).__name__}: {error}"}
        return json.dumps({**reply, "question": question}).encode() + b"\n"


def _commands(parent: int) -> Any:
    """The command lines, until the input ends or the parent is gone."""
    buffered = b""
    while True:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_SECONDS)
        if os.getppid() != parent:
            return
        if not readable:
            continue
        received = os.read(0, 65536)
        if not received:
            return
        *lines, buffered = (buffered + received).split(b"\n")
        yield from lines


def main() -> NoReturn:
    """Serve the parent, then leave nothing behind."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--parent", type=int, required=True)
    arguments.add_argument("--grace", type=float, required=True)
    arguments.add_argument("--remove", type=Path)
    options = arguments.parse_args()

    def leave(*_: object) -> NoReturn:
        raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    supervisor = Supervisor(options.grace)
    try:
        for line in _commands(options.parent):
            os.write(1, supervisor.answer(line))
    except (SystemExit, BrokenPipeError):
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        supervisor.end()
        if options.remove is not None:
            shutil.rmtree(options.remove, ignore_errors=True)
    raise SystemExit(0)


if __name__ == "__main__":
    main()
