"""A file of the user's own actions."""

from itertools import islice
from pathlib import Path

import pytest

from streams.sandbox.demo.own_actions import own_actions
from streams.sandbox.errors import SandboxError


def test_lines_come_over_and_over_as_they_are(tmp_path: Path):
    """Each line is kept byte for byte, blank ones are left out, and after the last comes the first."""
    file = tmp_path / "my.jsonl"
    file.write_bytes(b'{"a": 1}\r\n\n  \n\xff{not json\n{"b":2}')
    assert list(islice(own_actions(file, 100), 5)) == [
        b'{"a": 1}',
        b"\xff{not json",
        b'{"b":2}',
        b'{"a": 1}',
        b"\xff{not json",
    ]


def test_no_more_is_read_than_is_needed(tmp_path: Path):
    """Of a long file only so many lines are kept."""
    file = tmp_path / "my.jsonl"
    file.write_bytes(b"1\n2\n3\n")
    assert list(islice(own_actions(file, 2), 3)) == [b"1", b"2", b"1"]


def test_a_file_without_actions_is_refused(tmp_path: Path):
    """A file of blank lines, or one that is not there, ends the demo before it starts, with one sentence."""
    file = tmp_path / "my.jsonl"
    file.write_bytes(b"\n \n")
    with pytest.raises(SandboxError, match="holds no action"):
        own_actions(file, 10)
    with pytest.raises(SandboxError, match="cannot be read: No such file"):
        own_actions(tmp_path / "other.jsonl", 10)
