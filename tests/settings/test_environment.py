"""What the environment gives: names, and secrets in mounted files."""

from pathlib import Path

from streams.settings.environment import Given, Known, collect

KNOWN = [
    Known("password", "STREAMS_PASSWORD", "", True),
    Known("port", "STREAMS_WEB_PORT", "PORT_ALIAS", False),
]


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """NAME_FILE gives the content of a file, without the line break at its end and with inner spaces."""
    path = tmp_path / "password"
    path.write_text(" a b \n")
    given, problems = collect({"STREAMS_PASSWORD_FILE": str(path)}, KNOWN)
    assert given == {"password": Given("STREAMS_PASSWORD_FILE", " a b ")}
    assert problems == []


def test_only_secrets_come_from_files() -> None:
    """What is no secret has no NAME_FILE: such a name is unknown."""
    given, problems = collect({"STREAMS_WEB_PORT_FILE": "/x"}, KNOWN)
    assert given == {}
    assert problems == ["STREAMS_WEB_PORT_FILE is no setting: did you mean STREAMS_WEB_PORT?"]


def test_a_secret_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A missing, an empty and a binary file stop the start, each with its reason.

    The setting is named and the file is not: somebody may have given the secret in its place.
    """
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    problems = [
        collect({"STREAMS_PASSWORD_FILE": str(path)}, KNOWN)[1][0]
        for path in (tmp_path / "missing", empty, binary)
    ]
    assert all(problem.startswith("STREAMS_PASSWORD_FILE=********: ") for problem in problems)
    found = [problem.partition(": ")[2] for problem in problems]
    assert found == ["cannot be read (No such file or directory)", "is empty", "is not UTF-8 text"]


def test_value_and_file_must_agree_and_neither_is_shown(tmp_path: Path) -> None:
    """A secret given twice with two values is refused, and no value is in the sentence."""
    path = tmp_path / "password"
    path.write_text("second-word")
    _, problems = collect({"STREAMS_PASSWORD": "first-word", "STREAMS_PASSWORD_FILE": str(path)}, KNOWN)
    assert problems == ["STREAMS_PASSWORD and STREAMS_PASSWORD_FILE are the same setting with two values"]
