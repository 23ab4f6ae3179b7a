"""Text that strangers wrote, on one line, and the names among it."""

from __future__ import annotations

import re
import unicodedata

LONGEST_TEXT = 200  # characters
LONGEST_NAME = 60  # characters
#: What mail programs make a link of, in a name without marks and invisible characters: a scheme, a mailbox,
#: or a dot before a word, as in "evil.com". "J.R." and "Dr. Ana" are names.
_LINK = re.compile(r"[.。][^\W_]{2}|\d\.\d|:[^\s]|//|@")
#: Letters that nobody sees: the fillers of Hangul.
_INVISIBLE = "\u115f\u1160\u3164\uffa0"


def text(raw: object) -> str:
    """Text on one line: without control characters, bidirectional overrides and lone surrogates."""
    if not isinstance(raw, str):
        return ""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", re.sub(r"[\u202a-\u202e\u2066-\u2069]", "", raw))
    return " ".join(clean.encode(errors="ignore").decode().split())[:LONGEST_TEXT].rstrip()


def first_name(raw: object) -> str:
    """A first name; nothing where there is none, or an advertisement by a letter that carries our name."""
    name = text(raw)
    if len(name) > LONGEST_NAME or _LINK.search(name):
        return ""
    # As a mail program may read it: wide and styled letters as plain ones, nothing invisible in between.
    plain = [
        each for each in unicodedata.normalize("NFKD", name) if unicodedata.category(each)[0] not in "MC"
    ]
    if _LINK.search("".join(plain)) or any(unicodedata.category(each) == "Sc" for each in plain):
        return ""
    return name if any(each.isalpha() and each not in _INVISIBLE for each in plain) else ""
