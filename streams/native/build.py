"""Compiles the native pass where the worker is installed: ``python -m streams.native.build``.

The library is kept in the folder ``lib/confirmation-streams`` of the Python environment. Its name has a
digest of the sources and flags, so that no worker loads one that was made from others. Nothing is compiled
when a worker starts.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import click

SOURCES = Path(__file__).parent
#: Where the library is kept.
FOLDER = Path(sys.prefix) / "lib" / "confirmation-streams"
#: Of every compiler. The default visibility is hidden: only what Python calls can be seen from outside.
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden")
#: zig cc adds checks of its own (UBSan), symbols for a debugger, and instructions that perhaps only this
#: processor has, unless it is told not to. An image is built on one machine, and used on others.
_ZIG_FLAGS = ("-fno-sanitize=all", "-s", "-mcpu=baseline")
#: Seconds that a compiler may take.
_WITHIN = 300


class NoCompiler(Exception):
    """This machine has no C compiler. The text says what to install."""


class BuildFailed(Exception):
    """The compiler refused the sources, or there is no place for the library. The text says why."""


def compiler(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the command of the C compiler: the variable ``CC``, cc, gcc, clang, or the package ziglang.

    Raises:
        NoCompiler: there is none of them.
        BuildFailed: ``CC`` is no command.
    """
    if named := environ.get("CC", "").strip():
        try:
            return shlex.split(named)
        except ValueError as exc:
            raise BuildFailed(f"the variable CC is no command: {exc}: {named}") from None
    for name in ("cc", "gcc", "clang"):
        if (found := shutil.which(name, path=environ.get("PATH"))) is not None:
            return [found]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise NoCompiler(
        "no C compiler is found: none of cc, gcc and clang is on the PATH. Install one of them, or the Python"
        " package ziglang"
    )


def library_path(folder: Path = FOLDER, flags: Sequence[str] = FLAGS) -> Path:
    """Return where the library of these sources is, if it is built."""
    digest = hashlib.sha256(repr(tuple(flags)).encode())
    for path in sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")]):
        digest.update(b"%b\0%b\0" % (path.name.encode(), path.read_bytes()))
    return folder / f"native-pass-{digest.hexdigest()[:16]}.so"


def build(
    folder: Path = FOLDER, flags: Sequence[str] = FLAGS, environ: Mapping[str, str] = os.environ
) -> Path:
    """Compile the library unless it is there, and return its path.

    Raises:
        NoCompiler: it is not there, and nothing can compile it.
        BuildFailed: ``CC`` is no command, the compiler refused the sources, or the folder cannot be written.
    """
    path = library_path(folder, flags)
    if path.exists():
        return path
    command = compiler(environ)
    more = _ZIG_FLAGS if "ziglang" in command else ()
    sources = [str(source) for source in sorted(SOURCES.glob("*.c"))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            made = Path(beside) / path.name
            done = subprocess.run(  # noqa: S603 - the compiler, and our own sources
                [*command, *flags, *more, *sources, "-o", str(made)],
                capture_output=True,
                text=True,
                timeout=_WITHIN,
                check=False,
                env=dict(environ),
            )
            if done.returncode != 0:
                raise BuildFailed(
                    f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}"
                )
            made.replace(path)  # a worker that starts now finds it whole, or not at all
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BuildFailed(f"{type(exc).__name__}: {exc}") from None
    return path


def main() -> int:
    """Build; say where the library is, or why there is none. Returns the exit code: 3 without a compiler."""
    try:
        path = build()
    except NoCompiler as exc:
        click.echo(str(exc), err=True)
        return 3
    except BuildFailed as exc:
        click.echo(f"the native pass is not built: {exc}", err=True)
        return 1
    click.echo(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
