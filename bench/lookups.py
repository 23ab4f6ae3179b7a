"""The lookup service of a scenario as a process of its own, and the loop that does nothing but ask it."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from bench.contenders import PEERS, ROOT
from bench.processes import Processes
from bench.rounds import Round
from streams.sandbox.errors import ProcessFailed
from streams.sandbox.ports import free_port
from streams.sandbox.worker import page

_WITHIN = 20.0  # seconds


@contextmanager
def service(seconds: float) -> Iterator[str]:
    """Run a service that takes so long for an answer; its address goes before ``/slow`` and ``/hanging``."""
    port = free_port()
    argv = [sys.executable, "-m", "bench.load.lookup", str(port), str(seconds)]
    with closing(Processes()) as processes:
        processes.start("lookup", argv, {"PYTHONPATH": str(ROOT)})
        _await(processes, port)
        yield f"http://127.0.0.1:{port}"


def nobody() -> str:
    """An address at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def _await(processes: Processes, port: int) -> None:
    until = time.monotonic() + _WITHIN
    while page(port, "/") == (0, ""):
        processes["lookup"].check()
        if time.monotonic() > until:
            raise ProcessFailed(f"no lookup service after {_WITHIN:g} s.{processes['lookup'].last_lines()}")
        time.sleep(0.05)


def ask_only(url: str, count: int, at_once: int) -> Round:
    """One round of the bare loop of questions: so many, and so many of them at once."""
    result = Round("bare-questions")
    argv = [sys.executable, str(PEERS / "bare_questions.py"), f"{url}/slow", str(count), str(at_once)]
    with closing(Processes()) as processes:
        try:
            processes.start("questions", argv, {})
            if processes["questions"].wait(120) != 0:
                raise ProcessFailed(f"bare-questions failed.{processes['questions'].last_lines()}")
            result.figures = json.loads(processes["questions"].log.read_text().splitlines()[-1])
        except ProcessFailed as error:
            result.problems = [str(error)]
    return result
