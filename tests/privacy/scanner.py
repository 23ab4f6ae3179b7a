"""Finds somebody's data in a text, however it was written down on the way."""

import base64
import html
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")


class Scanner:
    """Looks for secrets of at least six characters: plain, in any case, escaped, encoded or reversed."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.secrets = tuple(secrets)
        assert all(len(secret) >= 6 for secret in self.secrets), "a shorter one is found by chance"
        self._plain = {secret.lower() for secret in self.secrets} | {
            secret.lower()[::-1] for secret in self.secrets
        }
        self._encoded = {core for secret in self.secrets for core in _encoded(secret)}

    def found(self, text: str | bytes) -> list[str]:
        """Return the lines in which there is one, cut to 400 characters."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        return [line[:400] for line in text.split("\n") if self._in(line)]

    def _in(self, line: str) -> bool:
        once = _unescaped(line)
        for view in {line, once, _unescaped(once)}:
            folded = view.lower()
            if any(secret in folded for secret in self._plain):
                return True
        return any(core in line for core in self._encoded)


def _unescaped(text: str) -> str:
    text = _ESCAPED.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
    return html.unescape(unquote_plus(text))


def _encoded(secret: str) -> Iterable[str]:
    """What base64 and hexadecimal make of it, wherever in a longer text it begins."""
    for form in {secret, secret.lower(), secret[::-1]}:
        raw = form.encode()
        yield raw.hex()
        yield raw.hex().upper()
        for before in range(3):
            written = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
            # The first characters also hold bits of what stands before, the last one of what follows.
            core = written[(0, 2, 3)[before] : -1]
            yield core
            yield core.replace("+", "-").replace("/", "_")
