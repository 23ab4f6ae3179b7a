"""The page on what can be added: each of its examples is made in a copy, and used."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streams.commands.keyed_lines import status_message
from streams.messages.decode import decode_supporter_status
from streams.sandbox.lookup_service import LookupService, subscribed
from tests import examples
from tests.docs.commands import ROOT
from tests.integration.topics import action

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    """A block of the page, by its language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found[number])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the code, in which somebody adds something."""
    for name in ("streams", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(folder: Path, *arguments: str, feed: str = "", **environ: str) -> str:
    """Run Python in a folder whose packages it finds first; returns what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=feed,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONUTF8": "1", **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def change(folder: Path, diff: str) -> None:
    """Make the changes of a diff: each hunk fits in one place of its file."""
    for path, hunks in re.findall(r"^--- (\S+)\n(.*?)(?=^--- |\Z)", diff, re.MULTILINE | re.DOTALL):
        file = folder / path
        text = file.read_text()
        for hunk in re.split(r"^@@\n", hunks, flags=re.MULTILINE)[1:]:
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        file.write_text(text)


def test_another_rule_decides_the_letter(copy: Path) -> None:
    """With the page's change, a lookup that says subscribed gives two buttons, with the new reason."""
    change(copy, block("diff"))
    (copy / "my.jsonl").write_text(json.dumps({**action(1), "actionId": 7001}) + "\n")
    with LookupService(subscribed) as service:
        printed = run(copy, "-m", "streams", "decide", "my.jsonl", "--ask", STREAMS_LOOKUP_URL=service.url)
    assert printed == block("text")


def test_another_language_writes_the_letters(copy: Path) -> None:
    """With the page's file, an action in that language gets its words; it has all that the others have."""
    texts = copy / "examples/mailer/texts"
    (texts / "eo.toml").write_text(block("toml"), encoding="utf-8")
    email = json.loads(examples.valid("confirmation-email")["no-lookup"])
    email["action"]["actionPage"]["locale"] = "eo"
    run(copy, "-m", "examples.mailer", "render", "letters", feed=json.dumps(email))
    written = "".join(path.read_text(errors="replace") for path in (copy / "letters").rglob("*.html"))
    assert "Mi ne subskribis tion" in written
    assert "Konfirmi, sed ne skribu al mi" in written


def test_another_source_fills_the_table(tmp_path: Path) -> None:
    """The page's program makes lines of the page's export that `streams status` takes, the erased one too."""
    (tmp_path / "from_csv.py").write_text(block("python"))
    lines = run(tmp_path, "from_csv.py", feed=block("csv")).splitlines()
    messages = [status_message(line.encode()) for line in lines]
    assert [message.key for message in messages] == [b"310:q2hX", b"310:r7Kd", b"310:s1Lm"]
    rows = [
        decode_supporter_status(message.key, message.value).subscribed
        for message in messages
        if message.value is not None
    ]
    assert (rows, messages[2].value) == ([True, False], None)
