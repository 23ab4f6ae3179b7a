"""What a container's health check sees."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from examples.mailer.alive import Pulse, is_alive
from examples.web import WITHIN


def test_a_sign_of_life_ages(tmp_path: Path) -> None:
    """Fresh, it says alive; after its time, or without a file, it does not; a beat renews it."""
    file = tmp_path / "alive"
    now = file.parent.stat().st_mtime
    assert not is_alive(str(file), now)
    Pulse(str(file)).beat()
    beaten = file.stat().st_mtime
    assert is_alive(str(file), beaten + WITHIN - 1)
    assert not is_alive(str(file), beaten + WITHIN)
    Pulse("").beat()  # no file: nothing to do


def test_a_check_without_a_file_is_told_so() -> None:
    """The health check exits with 2 and a sentence when nobody set where to look."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.mailer", "healthy"], capture_output=True, text=True, env={}
    )
    assert done.returncode == 2
    assert "MAILER_ALIVE_FILE must be set" in done.stderr


def test_a_file_that_can_be_written_is_no_beat(tmp_path: Path) -> None:
    """A mailer that only tried its file, and then failed to begin, does not look alive."""
    file = tmp_path / "alive"
    Pulse(str(file)).be_writable()
    assert not is_alive(str(file), time.time())
    with pytest.raises(FileNotFoundError):
        Pulse(str(tmp_path / "missing" / "alive")).be_writable()
