"""Programs of Debian's that some tests drive: Chromium, Prometheus."""

import os
import shutil

import pytest


def debian_tool(program: str, package: str | None = None) -> str:
    """Return the path of `program`; skip the test where it is not installed, fail where it must be (in CI).

    Args:
        program: name of the command.
        package: Debian's package that has it, where the names differ.
    """
    path = shutil.which(program)
    if path is None:
        word = f"needs {program}: apt-get install {package or program}"
        if os.environ.get("CI"):
            pytest.fail(word)
        pytest.skip(word)
    return path
