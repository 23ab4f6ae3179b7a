"""The commands that the documents tell people to type."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A document's blocks for a terminal; what is typed follows a dollar sign.
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s{2,}#\s.*$")


@dataclass(frozen=True, slots=True)
class Command:
    """One line that somebody types."""

    document: str
    text: str


def documents() -> list[Path]:
    """Return every Markdown file of the project."""
    hidden = {".venv", ".cache", ".git", "node_modules"}
    return sorted(path for path in ROOT.rglob("*.md") if not hidden & set(path.relative_to(ROOT).parts))


def commands() -> list[Command]:
    """Return what the documents have in blocks for a terminal, in their order, comments left out."""
    found = []
    for path in documents():
        for block in _BLOCK.findall(path.read_text()):
            joined = block.replace("\\\n", " ")
            found += [
                Command(str(path.relative_to(ROOT)), _COMMENT.sub("", line[2:]).strip())
                for line in joined.splitlines()
                if line.startswith("$ ")
            ]
    return found
