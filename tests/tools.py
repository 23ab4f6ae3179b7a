"""Programs and rights of the machine that some tests need: Chromium, Prometheus, namespaces."""

import os
import shutil
import subprocess
from typing import NoReturn

import pytest


def debian_tool(program: str, package: str | None = None) -> str:
    """Return the path of `program`; skip the test where it is not installed, fail where it must be (in CI).

    Args:
        program: name of the command.
        package: Debian's package that has it, where the names differ.
    """
    path = shutil.which(program)
    return path if path is not None else without(f"needs {program}: apt-get install {package or program}")


def namespaces(*options: str) -> list[str]:
    """Return the command that runs another one in new Linux namespaces.

    Skips the test where this user may not make them, fails in CI.

    Args:
        options: of ``unshare``, for example ``--pid --fork``.
    """
    command = [debian_tool("unshare", "util-linux"), *options]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        without(f"needs the right to make namespaces: {tried.stderr.strip()}")
    return command


def without(word: str) -> NoReturn:
    """Skip the test for what this machine lacks; fail in CI, which must have it."""
    if os.environ.get("CI"):
        pytest.fail(word)
    pytest.skip(word)
