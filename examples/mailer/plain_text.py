"""Text that strangers wrote, on one line, and the names among it."""

from __future__ import annotations

import re

LONGEST_TEXT = 200  # characters
LONGEST_NAME = 60  # characters


def text(raw: object) -> str:
    """Text on one line: without control characters, bidirectional overrides and lone surrogates."""
    if not isinstance(raw, str):
        return ""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+", " ", raw)
    return " ".join(clean.encode(errors="ignore").decode().split())[:LONGEST_TEXT].rstrip()


def first_name(raw: object) -> str:
    """A first name; nothing where strangers advertise in it, by a letter that carries our name."""
    name = text(raw)
    return "" if len(name) > LONGEST_NAME or re.search(r"://|www\.|@|\w\.\w\w+/", name) else name
