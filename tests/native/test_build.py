"""Compiling the native pass: with what, where to, and what is said where that is not possible."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import pytest

from streams.native import build
from streams.native.build import FLAGS, BuildFailed, NoCompiler, compiler, library_path
from streams.native.library import load


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_compiler_is_cc_gcc_clang_or_the_one_of_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable CC names another one; ziglang's is taken where no other is on the PATH."""
    environ = {"PATH": str(tmp_path)}
    monkeypatch.setattr(build, "find_spec", lambda _: None)
    with pytest.raises(NoCompiler, match="Install one of them, or the Python package ziglang"):
        compiler(environ)
    monkeypatch.setattr(build, "find_spec", lambda name: name)
    assert compiler(environ) == [sys.executable, "-m", "ziglang", "cc"]
    for name in ("clang", "gcc", "cc"):
        program(tmp_path, name, "exit 0")
        assert compiler(environ) == [str(tmp_path / name)]
    assert compiler(environ | {"CC": "python -m ziglang cc"}) == ["python", "-m", "ziglang", "cc"]


@pytest.mark.parametrize("named", ['cc "-O2', "cc 'a", "cc \\"])
def test_a_cc_that_is_no_command_is_told(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An open quote or escape in CC ends the build with one sentence that names the variable."""
    monkeypatch.setattr(build, "build", partial(build.build, tmp_path, environ={"CC": named}))
    assert build.main() == 1
    assert "the variable CC is no command: No " in (said := capsys.readouterr().err)
    assert said.endswith(f": {named}\n")


def test_an_empty_cc_is_none(tmp_path: Path) -> None:
    """A variable without a word in it names no compiler: one is looked for."""
    cc = program(tmp_path, "cc", "exit 0")
    for named in ("", " ", "\t"):
        assert compiler({"PATH": str(tmp_path), "CC": named}) == [str(cc)]


def test_it_is_compiled_once_and_loads(tmp_path: Path) -> None:
    """The library is made in the folder, without anything beside it, and is not made again."""
    path = build.build(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == [path]
    load(path)
    assert build.build(tmp_path / "new", environ={"CC": "no-such-compiler"}) == path


def test_other_sources_or_flags_are_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker never loads a library that was made of other sources than it has."""
    path = library_path(tmp_path)
    assert library_path(tmp_path, (*FLAGS, "-g")) != path
    for name, text in (("a.c", "int one;"), ("a.c", "int two;"), ("b.h", "int two;")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(build, "SOURCES", tmp_path)
        assert library_path(tmp_path) != path
        path = library_path(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"), [("echo 'action.c: no' >&2; exit 1", "ended with 1: action.c: no"), ("exit 0", "Error")]
)
def test_a_compiler_that_fails_leaves_nothing(tmp_path: Path, text: str, said: str) -> None:
    """What the compiler says is said again, and no half of a library is left."""
    cc = program(tmp_path, "cc", text)
    folder = tmp_path / "folder"
    with pytest.raises(BuildFailed, match=said):
        build.build(folder, environ={"CC": str(cc)})
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A system's Python belongs to somebody else: the sentence says so, and nothing is raised otherwise."""
    tmp_path.chmod(0o500)
    with pytest.raises(BuildFailed, match="PermissionError"):
        build.build(tmp_path / "new")


def test_the_command_says_where_the_library_is_or_why_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with 0, with 3 where there is no compiler, and with 1 where the compiler failed."""
    made = tmp_path / "made.so"
    for result, code, out in (
        (made, 0, f"{made}\n"),
        (NoCompiler("no C compiler"), 3, ""),
        (BuildFailed("cc ended with 1"), 1, ""),
    ):

        def build_now(result: object = result) -> object:
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(build, "build", build_now)
        assert build.main() == code
        captured = capsys.readouterr()
        assert captured.out == out
        assert bool(captured.err) is (code != 0)
