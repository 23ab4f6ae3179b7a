"""The folder of the store: one worker at a time, one user."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from streams.settings.store_folder import FolderInUse, holder, lock, make_private

HOLD = "import sys; from pathlib import Path; from streams.settings.store_folder import lock;"
HOLD += "lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_a_folder_is_refused_while_another_process_has_it(tmp_path: Path) -> None:
    """The sentence names the setting and the folder; a killed process gives it free at once."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(FolderInUse, match=f"STREAMS_STORE_FOLDER={tmp_path} is in use"):
            lock(tmp_path)
        other.kill()
        other.wait()
    os.close(lock(tmp_path))


def test_who_has_the_folder_is_seen_without_asking_for_its_lock(tmp_path: Path) -> None:
    """The process id of the worker; nobody before it comes, nor after it has gone."""
    assert holder(tmp_path) is None
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert holder(tmp_path) == other.pid
        other.kill()
        other.wait()
    assert holder(tmp_path) is None


def test_nobody_else_may_read_the_folder(tmp_path: Path) -> None:
    """What is there and what is made later has no rights for group and others."""
    (tmp_path / "v1/tables").mkdir(parents=True)
    (tmp_path / "v1/tables/rows").write_text("x")
    before = os.umask(0o022)
    try:
        make_private(tmp_path)
        (tmp_path / "v1/later").write_text("x")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path, *tmp_path.rglob("*")]}
    assert modes == {0o700, 0o600}
