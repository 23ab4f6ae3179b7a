"""How commands end, and what a shell is told."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streams.__main__ import main
from streams.commands.command_line import CommandGroup, counted, try_to_write
from tests.docs.commands import ROOT

STREAMS = (sys.executable, "-m", "streams")
#: Imported by commands when they run; each takes longer than all of click.
HEAVY = {"aiokafka", "asyncio", "faust", "httpx", "msgspec", "pydantic", "rich"}


def test_an_interrupt_is_one_word_and_130() -> None:
    """Ctrl-C ends every command alike, as a shell expects it."""

    @click.command()
    def long() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(CommandGroup("streams", {"long": long}), ["long"])
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    "module",
    ["click.core", "streams.commands.feed", "pydantic", "aiokafka", "aiokafka.record._crecords", "ssl"],
)
def test_an_interrupt_while_modules_are_imported_leaves_no_traceback(module: str) -> None:
    """Ctrl-C in the first moments, at any stage of the imports: a word at most, and 130."""
    interrupting = f"""
import os, runpy, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["streams", "audit"]
runpy.run_module("streams", run_name="__main__", alter_sys=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupting],
        env={"PATH": os.environ["PATH"], "STREAMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr in ("", "interrupted\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`streams settings | head -1`: no word on standard error, and the code of a closed pipe."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as closed:
        done = subprocess.run(
            [*STREAMS, "settings"], stdout=closed, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    "command", ["worker", "feed", "settings", "lookup", "audit", "doctor", "drill", "trace", "decide"]
)
def test_help_waits_for_no_heavy_import(command: str) -> None:
    """What a command works with is imported when it runs, not when somebody asks what there is."""
    code = (
        "import sys; from streams.__main__ import main;"
        f"main(['{command}', '--help'], 'streams', standalone_mode=False);"
        "print(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"Usage: streams {command}")
    assert HEAVY & set(shown.splitlines()[-1].split()) == set()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("streams de", {"demo", "dead-letters"}),
        ("streams dead-letters ", {"accept", "list", "show", "retry"}),
        ("streams dead-letters list --class not", {"not_json"}),
        ("streams audit --m", {"--metrics-file"}),
    ],
)
def test_a_shell_completes(typed: str, offered: set[str]) -> None:
    """Commands, their options and error classes."""
    done = subprocess.run(
        STREAMS,
        env={
            **os.environ,
            "_STREAMS_COMPLETE": "bash_complete",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.rpartition(",")[2] for line in done.stdout.splitlines()} >= offered


@pytest.mark.parametrize(
    ("shell", "script"),
    [("bash", "complete -o nosort"), ("zsh", "#compdef streams"), ("fish", "complete --no-files")],
)
def test_each_shell_of_the_operations_page_gets_its_script(shell: str, script: str) -> None:
    """What the page tells people to put into their shell's file is printed for that shell."""
    setting = f"_STREAMS_COMPLETE={shell}_source"
    assert f"{shell}_source" in (ROOT / "docs/operations.md").read_text()
    result = CliRunner().invoke(main, [], env=dict([setting.split("=")]), prog_name="streams")
    assert script in result.stdout


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 dead letters"), (1, "1 dead letter"), (1_200, "1,200 dead letters")]
)
def test_a_number_has_its_noun(number: int, expected: str) -> None:
    """One of something is no plural."""
    assert counted(number, "dead letter") == expected


def terminal(*arguments: str, **environ: str) -> str:
    """What a command writes where it has a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*STREAMS, *arguments],
        env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "200", **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        found = b""
        with contextlib.suppress(OSError):  # which is the end of a terminal
            while some := os.read(ours, 1 << 16):
                found += some
    os.close(ours)
    return found.decode()


DEAD = "127.0.0.1:9"
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-8]|4[0-8]|9\d|10\d)[0-9;]*m")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", ["doctor", "settings"])
def test_colours_are_left_out_where_somebody_says_so(command: str, environ: dict[str, str]) -> None:
    """NO_COLOR is obeyed by every command, and so is a terminal that has no colours."""
    shown = terminal(command, STREAMS_KAFKA_BOOTSTRAP_SERVERS=DEAD, **environ)
    assert DEAD in shown
    assert not COLOUR.search(shown)
    if "TERM" in environ:
        assert "\x1b" not in shown


def test_a_terminal_has_colours() -> None:
    """A problem is red where nobody objects."""
    assert COLOUR.search(terminal("doctor", STREAMS_KAFKA_BOOTSTRAP_SERVERS=DEAD))


def test_a_file_is_tried_and_left_as_it_is(tmp_path: Path) -> None:
    """One that is there keeps its content, a new one is not made, and one that cannot be is an error."""
    there, new = tmp_path / "there", tmp_path / "new"
    there.write_text("kept")
    for path in (there, new):
        try_to_write(path)
    assert there.read_text() == "kept"
    assert not new.exists()
    for path in (there / "x", tmp_path / "no/x", tmp_path / ("x" * 5_000)):
        with pytest.raises(OSError, match=re.escape(str(path))):
            try_to_write(path)
