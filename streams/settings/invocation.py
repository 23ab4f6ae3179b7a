"""How this program is called here, for hints that can be pasted into the terminal that shows them."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def invocation() -> str:
    """Return what is typed before a command's name: ``streams``, where that is on the path.

    Elsewhere the script is named as it was started, ``.venv/bin/streams``, or the Python that runs this
    package, ``.venv/bin/python -m streams``.
    """
    started = Path(sys.argv[0])
    if started.parts[-2:] == ("streams", "__main__.py"):
        return f"{_typed(Path(sys.executable))} -m streams"
    if started.name != "streams" or _same(shutil.which("streams"), started):
        return "streams"
    return _typed(started)


def _same(found: str | None, started: Path) -> bool:
    try:
        return found is not None and os.path.samefile(found, started)
    except OSError:
        return False


def _typed(program: Path) -> str:
    """A program as a shell takes it: below the current folder by the way from there."""
    absolute = program.absolute()  # not resolved: a virtual environment's python is a link
    here = Path.cwd()
    return shlex.quote(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))
