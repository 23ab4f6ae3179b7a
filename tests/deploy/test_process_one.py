"""What a container runs is process 1 of it: Linux brings it no signal that is not handled or blocked."""

import subprocess
import sys

import pytest

from tests.tools import namespaces

#: Sends SIGTERM to the process itself when it imports the first package that is not Python's own.
PROGRAM = """
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name in ("click", "examples.mailer.settings", "examples.proca.settings"):
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["streams", "worker"], 0),
        (["examples.mailer"], 0),
        (["examples.proca", "actions"], 0),
        (["streams.sandbox.lookup_command", "--port", "0", "--control-port", "0"], 0),
        (["streams", "feed", "compose/actions.jsonl"], 143),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_process_1_ends_by_a_signal_that_comes_while_it_starts(command: list[str], code: int) -> None:
    """SIGTERM ends worker, mailer, bridge, lookup service and other commands before they import anything."""
    as_process_1 = namespaces("--pid", "--fork", "--kill-child")
    done = subprocess.run(
        [*as_process_1, sys.executable, "-c", PROGRAM, *command], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr.decode()
