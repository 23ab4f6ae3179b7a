"""The commands that the documents tell people to type."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A document's blocks for a terminal; what is typed follows a dollar sign.
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_COMMENT = re.compile(r"\s{2,}#\s.*$")


@dataclass(frozen=True, slots=True)
class Command:
    """One line that somebody types."""

    document: str
    section: str  # the heading above it
    text: str


def documents() -> list[Path]:
    """Return every Markdown file of the project."""
    hidden = {".venv", ".cache", ".git", "node_modules"}
    return sorted(path for path in ROOT.rglob("*.md") if not hidden & set(path.relative_to(ROOT).parts))


def commands() -> list[Command]:
    """Return what the documents have in blocks for a terminal, in their order, comments left out."""
    found = []
    for path in documents():
        text = path.read_text()
        for block in _BLOCK.finditer(text):
            joined = block[1].replace("\\\n", " ")
            headings = _HEADING.findall(text, 0, block.start())
            section = headings[-1] if headings else ""
            found += [
                Command(str(path.relative_to(ROOT)), section, _COMMENT.sub("", line[2:]).strip())
                for line in joined.splitlines()
                if line.startswith("$ ")
            ]
    return found
