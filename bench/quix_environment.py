"""Quix Streams in a virtual environment of its own: it must not choose the versions of our packages."""

import hashlib
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

from streams.sandbox.kafka.jars import cache_folder

LOCK = Path(__file__).parent / "peers" / "requirements.lock"


def _folder() -> Path:
    which = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return cache_folder() / f"bench-quix-{which}"


def python() -> Path:
    """The environment's interpreter, whether it is there or not."""
    return _folder() / "bin" / "python"


def is_there() -> bool:
    """Whether the environment was made before, whole."""
    return (_folder() / "whole").exists()


def absent(told: Callable[[str], None]) -> str | None:
    """Make the environment if it is not there; return why that was not possible."""
    if is_there():
        return None
    told("making an environment for Quix Streams (a minute, once)")
    try:
        venv.create(_folder(), with_pip=True, clear=True)
        install = [python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(  # noqa: S603 - the environment's own pip and our lock
            [*install, "--require-hashes", "-r", LOCK], check=True, capture_output=True, timeout=600
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"Quix Streams cannot be installed ({type(error).__name__})"
    (_folder() / "whole").touch()
    return None
