"""Letters to look at: files in a folder, and a page that shows them. Nothing is sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from examples.mailer.letters import FALLBACK, HERE, Letter, Letters, Unreadable
from examples.mailer.links import Links

LINK_BASE = "https://act.example.org/confirm"
BUTTONS = {"one_button": "one button", "two_button": "two buttons"}
_OURS = ("*.html", "*.txt", "*.eml")


@dataclass(frozen=True, slots=True)
class Shown:
    """One letter in the folder."""

    letter: Letter
    reason: str
    html: Path
    plain: Path
    source: Path

    @property
    def buttons(self) -> str:
        """How many, in words."""
        return BUTTONS[self.letter.variant]


@dataclass(slots=True)
class Gallery:
    """What is in the folder."""

    index: Path
    letters: list[Shown] = field(default_factory=list)
    unreadable: Counter[str] = field(default_factory=Counter)


def hang(values: Iterable[bytes], folder: Path) -> Gallery:
    """Render each email record's value into `folder`, which is made, and swept if it is there.

    The folder is for its owner alone: letters hold names and addresses. Their files' names do not.

    Raises:
        OSError: the folder cannot be written.
    """
    letters = Letters("confirm@example.org", Links(LINK_BASE, "only to be looked at"))
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in (path for pattern in _OURS for path in folder.glob(pattern)):
        old.unlink()
    gallery = Gallery(folder / "index.html")
    for value in values:
        try:
            letter = letters.render(value)
        except Unreadable as error:
            gallery.unreadable[str(error)] += 1
            continue
        reason = str(json.loads(value).get("reason", ""))
        gallery.letters.append(_write(letter, reason, folder, len(gallery.letters) + 1))
    gallery.letters.sort(
        key=lambda each: (
            each.letter.variant,
            each.letter.locale != FALLBACK,
            each.letter.locale,
            each.reason,
        )
    )
    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("gallery.html")
    gallery.index.write_text(page.render(gallery=gallery), "utf-8")
    return gallery


def _write(letter: Letter, reason: str, folder: Path, number: int) -> Shown:
    stem = folder / f"{number:03}-{letter.variant}-{letter.locale}"
    plain, html = letter.message.get_body(("plain",)), letter.message.get_body(("html",))
    assert plain is not None
    assert html is not None
    shown = Shown(letter, reason, *(stem.with_suffix(suffix) for suffix in (".html", ".txt", ".eml")))
    shown.html.write_text(html.get_content(), "utf-8")
    # With a byte order mark: a browser that opens a file has no header that tells the encoding.
    shown.plain.write_text(plain.get_content(), "utf-8-sig")
    shown.source.write_bytes(letter.content)
    return shown


def directions(gallery: Gallery) -> str:
    """Where to look, for a terminal: the page, and one letter of each variant."""
    lines = [f"{len(gallery.letters)} letters to open: {gallery.index.as_uri()}"]
    for variant, buttons in BUTTONS.items():
        shown = next((each for each in gallery.letters if each.letter.variant == variant), None)
        if shown is not None:
            lines += [f"  {buttons:<12} {shown.html.as_uri()}", f"  {'as text':<12} {shown.plain.as_uri()}"]
    if gallery.unreadable:
        why = ", ".join(f"{count} {name}" for name, count in sorted(gallery.unreadable.items()))
        lines.append(f"  without a letter, as the mailer would refuse them: {why}")
    return "\n".join(lines)
