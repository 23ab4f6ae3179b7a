"""The library compiled with the address and undefined-behaviour sanitizers, over strange records."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.native.build import FLAGS, build, compiler
from tests.native.built import FOLDER

ROOT = Path(__file__).parents[2]
_SANITIZED = (
    "-g",
    "-O1",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)


def hardened(records: int) -> str:
    """Let the sanitized library work on so many records in a process of its own, and return what it says."""
    command = compiler()
    runtime = "" if "ziglang" in command else _runtime(command)
    if not Path(runtime).is_absolute():
        pytest.skip("this compiler has no address sanitizer: " + " ".join(command))
    path = build(FOLDER, (*FLAGS, *_SANITIZED))
    done = subprocess.run(
        [sys.executable, "-m", "tests.native.hardened", str(path), str(records)],
        cwd=ROOT,
        # Each object has memory of its own, so that a read beyond its end is seen. Python leaks on purpose.
        env=os.environ | {"LD_PRELOAD": runtime, "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr[-4_000:]


def _runtime(command: list[str]) -> str:
    """Return the sanitizer's library of a compiler, which a process has to load first."""
    asked = [*command, "-print-file-name=libasan.so"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def test_no_byte_beyond_its_bounds_is_touched() -> None:
    """Strange records, damaged batches, every codec: nothing is read or written beyond its bounds."""
    assert hardened(1_000) == "ok\n"


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_no_byte_beyond_its_bounds_is_touched_in_many_records() -> None:
    """The same over 100,000 records."""
    assert hardened(100_000) == "ok\n"


def test_the_sources_have_no_warnings() -> None:
    """The compiler finds nothing to remark, at a strict setting."""
    strict = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
    build(FOLDER, (*FLAGS, *strict))
