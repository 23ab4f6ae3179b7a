"""A process that is started, looked at and ended."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.sandbox.errors import ProcessFailed
from streams.sandbox.process import Process
from streams.sandbox.supervised import SupervisedProcesses

Make = Callable[..., Process]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    processes = SupervisedProcesses(grace=0.0)

    def shell(script: str, **environ: str) -> Process:
        return Process(processes, "sleeper", ["/bin/sh", "-c", script], environ, tmp_path / "log")

    yield shell
    processes.close()


def test_it_runs_until_it_is_stopped_and_may_run_again(make: Make) -> None:
    """A process is running after its start, and not after its stop; it can be started once more."""
    process = make("exec sleep 600")
    assert not process.running
    for _ in range(2):
        process.start()
        assert process.running
        assert process.stop() == -signal.SIGTERM
        assert not process.running
    assert process.stop() == -signal.SIGTERM, "nothing to do, and the same answer"
    assert not process.send(signal.SIGTERM)


def test_it_has_the_given_environment_only(make: Make) -> None:
    """Nothing of ours is passed on, whatever it is."""
    os.environ["LEAKS"] = "ours"
    try:
        process = make('echo "[$GIVEN$LEAKS]"', GIVEN="given")
        process.start()
        assert process.wait() == 0
    finally:
        del os.environ["LEAKS"]
    assert process.tail() == "[given]"


def test_an_end_that_nobody_asked_for_is_told_with_the_end_of_the_log(make: Make) -> None:
    """A check of a process that has ended gives its exit code and the last lines of its log."""
    process = make("echo first; echo last; exit 3")
    process.start()
    assert process.wait() == 3
    with pytest.raises(ProcessFailed) as failure:
        process.check()
    assert str(failure.value) == (
        "The sleeper ended by itself, with exit code 3.\n  Its log ends with:\n  first\n  last"
    )


def test_what_does_not_end_in_time_is_told_and_killed(make: Make) -> None:
    """A wait ends with an error, a stop with the kill and an error; the process is gone."""
    process = make("trap '' TERM; echo deaf; while :; do sleep 1; done")
    process.start()
    while process.tail() != "deaf":
        process.check()
    with pytest.raises(ProcessFailed, match="still runs after 0 s"):
        process.wait(0)
    with pytest.raises(ProcessFailed, match=r"still runs after 0\.2 s"):
        process.stop(0.2)
    assert process.wait(0) == -signal.SIGKILL


def test_a_kill_is_harmless_at_any_time(make: Make) -> None:
    """Before the start, while it runs, and after the end."""
    process = make("exec sleep 600")
    process.kill()
    process.start()
    process.kill()
    process.kill()
    assert process.wait(0) == -signal.SIGKILL
