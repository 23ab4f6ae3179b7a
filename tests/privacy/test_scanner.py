"""The scan finds what it is there to find."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.privacy.people import EMAIL, FIRST, REF, SECRETS
from tests.privacy.scanner import Scanner

HIDDEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "lower case": str.lower,
    "upper case": str.upper,
    "percent-encoded": lambda text: quote(text, safe=""),
    "every byte percent-encoded": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON, escaped": lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
    "JSON in JSON": lambda text: json.dumps(f'{{"email": {json.dumps(text)}}}'),
    "Python's escapes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "HTML": html.escape,
    "HTML, by number": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 in a URL": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64, one byte in": lambda text: base64.b64encode(b"x" + text.encode() + b"yz").decode(),
    "base64, two bytes in": lambda text: base64.b64encode(b"xy" + text.encode() + b"z").decode(),
    "base64 of the lower case": lambda text: base64.b64encode(text.lower().encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "reversed": lambda text: text[::-1],
    "reversed in a URL": lambda text: quote(text[::-1], safe=""),
}


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("secret", [EMAIL, FIRST, REF])
def test_what_is_planted_is_found(secret: str, hide: Callable[[str], str]) -> None:
    """An address, a name, a contactRef, however it is written, in the middle of a line among others."""
    line = f'{{"time":"12:00","message":"lookup of {hide(secret)} failed"}}'
    found = Scanner(SECRETS).found(f"harmless\n{line}\nharmless too")
    assert found == [line[:400]]


def test_what_is_harmless_is_not_found() -> None:
    """Places, causes, percent signs and broken escapes are no secrets."""
    lines = "actions/3/17 timeout 100%\n%zz \\u00 \\xg0 &#; &amp\nHTTP status 500 YWJj Zm9v 7a7978"
    assert Scanner(SECRETS).found(lines) == []
