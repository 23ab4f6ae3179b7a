"""What may stand in one table of the organisations file: each key with how it is read and what is allowed.

A reader takes the TOML value and returns it as it is used, or raises ValueError without text: what is
allowed stands beside it.
"""

import re
import ssl
from collections.abc import Callable
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from streams.lookup.client import EmptyMeans, NotFound
from streams.settings.values import http_url, seconds, user, without_secrets

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
_SECRETS = re.compile(r"pass|token|secret|authori[sz]ation|api_?key|bearer|credential", re.IGNORECASE)


class InMessage(Enum):
    """What an ``isSubscribed: true`` in a message's ``action.customFields`` is worth."""

    IGNORED = "ignored"
    BELIEVED = "believed"


class Key(NamedTuple):
    """How one key is read, and what it may be, in words."""

    read: Callable[[Any], Any]
    allowed: str
    shown: bool = True  # whether a wrong value may be repeated; a secret may have been put there by mistake


def _seconds(value: object) -> float:
    value = seconds(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError


def _number(low: float, high: float, unit: str = "") -> Key:
    kind = type(low)

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, kind)) or not low <= value <= high:
            raise ValueError
        return kind(value)

    return Key(read, f"{low:,.12g} to {high:,.12g} {unit}".rstrip())


def _duration(low: float, high: float, shown: str = "") -> Key:
    def read(value: object) -> float:
        seconds = _seconds(value)
        if not low <= seconds <= high:  # false for NaN as well
            raise ValueError
        return seconds

    return Key(read, shown or f'{low:,.12g} to {high:,.12g} seconds, or with a unit, as in "500ms", "5m"')


def _text(value: object) -> str:
    if not (isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= 200):
        raise ValueError
    return value


def _url(value: object) -> str:
    url = http_url(_text(value))
    try:
        httpx.URL(url)  # it is the client's opinion that counts at the first question
    except httpx.InvalidURL as error:
        raise ValueError from error
    return url


def _none(value: object) -> str:
    if value != "none":
        raise ValueError
    return "none"


def _variable(value: object) -> str:
    if not _VARIABLE.fullmatch(_text(value)):
        raise ValueError
    return str(value)


def _places(value: object) -> tuple[str, ...]:
    if not (isinstance(value, list) and value):
        raise ValueError
    if not all(isinstance(place, str) and _PLACE.fullmatch(place) for place in value):
        raise ValueError
    return tuple(value)


_LIFETIME = _duration(0, 31_622_400, '0 seconds (never kept) to 366 days, as in 3600, "1h", "30d"')
_VARIABLE_KEY = Key(_variable, "the name of an environment variable: letters, digits and _", shown=False)

KEYS = {
    "name": Key(_text, "a printable text"),
    "lookup": Key(_none, '"none", or leave it out'),
    "url": Key(_url, "http(s)://host[:port][/path], without user, password or #fragment"),
    "authorization_env": _VARIABLE_KEY,
    "user": Key(lambda value: user(_text(value)), 'a printable text without ":"'),
    "password_env": _VARIABLE_KEY,
    "deadline": _duration(0.05, 30),
    "requests_per_second": _number(0.1, 10_000.0, "requests"),
    "burst": _number(1, 10_000, "requests"),
    "concurrency": _number(1, 1_000, "lookups"),
    "queue": _number(0, 100_000, "lookups"),
    "subscribed_lifetime": _LIFETIME,
    "not_subscribed_lifetime": _LIFETIME,
    "is_subscribed_in_message": Key(InMessage, '"ignored" or "believed"'),
    "on_not_found": Key(NotFound, '"failure" or "not_subscribed"'),
    "empty_means": Key(EmptyMeans, '"not_subscribed" or "error"'),
    "subscribed_when": Key(_places, 'a list of at least one place in the reply, as in ["privacy.optIn"]'),
    "ca_file": Key(lambda value: Path(_text(value)), "the path of a PEM file"),
    "breaker_window": _duration(1, 600),
    "breaker_failure_ratio": _number(0.01, 1.0),
    "breaker_minimum_calls": _number(1, 10_000, "calls"),
    "breaker_first_pause": _duration(0.1, 600),
    "breaker_longest_pause": _duration(0.1, 3_600),
    "breaker_retry_after_cap": _duration(0, 3_600),
}


def unknown(key: str, known: list[str]) -> str:
    """What to say of a key that is none. Its value is never shown: it may be a secret."""
    if _SECRETS.search(key) and not key.endswith("_env"):
        return (
            "does not belong into a file: put the secret into an environment variable, and that variable's "
            "name here as authorization_env (a raw Authorization header value) or password_env (with user)"
        )
    near = get_close_matches(key, known, n=1, cutoff=0.8)
    return f"is unknown: did you mean {near[0]}?" if near else f"is unknown: allowed are {', '.join(known)}"


def shown(value: object) -> str:
    """A wrong value as it may be repeated: short, without login and query."""
    try:
        text = repr(without_secrets(value) if isinstance(value, str) else value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number with thousands of digits"
    if isinstance(value, str) and value.isprintable():
        text = f'"{without_secrets(value)}"'
    return text if len(text) <= 100 else f"{text[:100]}…"


def pem(path: Path) -> str:
    """The content of a PEM file. Raises OSError, or ValueError when no certificate can be read from it."""
    text = path.read_text(encoding="ascii", errors="replace")
    try:
        ssl.create_default_context(cadata=text)
    except ssl.SSLError as error:
        raise ValueError from error
    return text


def lines(text: str) -> dict[tuple[str, ...], int]:
    """Where each table and key of a TOML text first stands; only to point at, as tomllib does not tell.

    A key inside a multi-line string is taken for one, and one in an inline table is missed: then its table's
    line has to do.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[([^\[\]]+)\]\s*(#.*)?$", line):
            table = here = _parts(match[1])
        elif match := re.match(r"""\s*([\w"'. -]+?)\s*=""", line):
            here = table + _parts(match[1])
        else:
            continue
        for depth in range(1, len(here) + 1):
            found.setdefault(here[:depth], number)
    return found


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
