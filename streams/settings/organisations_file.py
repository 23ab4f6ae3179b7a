"""Each organisation's own lookup, from one TOML file, or one default for all from plain settings.

``[organisation.310]`` says how organisation 310 is asked. ``[default]`` says it for every organisation
without an entry, and lends its values to entries that do not give their own; ``organisations.example.toml``
shows both.

* ``url``: http(s), without user and password.
* ``lookup = "none"``: nobody is asked, and who is not known gets two buttons. An entry says so where it has
  no ``url`` and does not want the default's.
* ``authorization_env``: the environment variable with the raw ``Authorization`` header value. Or, for Basic
  authentication, ``user`` and ``password_env``. Secrets themselves never stand in the file. An entry with a
  ``url`` of its own borrows neither the default's credentials, which would be sent to somebody else, nor
  its ``ca_file``.
* ``requests_per_second``, ``burst``: how many requests a second one worker sends for this organisation, and
  how many of them at once. Without, there is no limit.
* ``deadline``, ``concurrency``, ``queue``: time from the question to the answer; questions under way at once;
  more that wait for their turn.
* ``subscribed_lifetime``, ``not_subscribed_lifetime``: how long an answer is believed. 0: only once.
* ``is_subscribed_in_message``: whether an action's own ``action.customFields.isSubscribed`` may decide,
  where the status is missing: ``"ignored"`` or ``"believed"``. Then no lookup is asked.
* ``on_not_found``: what a 404 means: ``"failure"`` or ``"not_subscribed"``.
* ``empty_means``: what an empty answer (``{}``) means: ``"not_subscribed"`` or ``"error"``.
* ``subscribed_when``: where in a reply ``true`` means *subscribed*, instead of the two dialects' places.
* ``ca_file``: certificate authorities to trust instead of the system's; a path relative to this file.
* ``breaker_…``: when the circuit opens, and for how long (``streams.lookup.breaker.BreakerPolicy``).
* ``name``: for people, on pages.

A duration is a number of seconds or a text with a unit: ``"500ms"``, ``"30s"``, ``"5m"``, ``"24h"``,
``"30d"``.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from streams.lookup.breaker import BreakerPolicy
from streams.lookup.client import Endpoint, basic
from streams.lookup.rate import RatePolicy
from streams.settings.organisation_keys import KEYS, InMessage, lines, pem, shown, unknown

_NO_NAME = "an environment variable that"
_ORG_ID = re.compile(r"[1-9][0-9]{0,18}")

DAY = 86_400.0
HOUR = 3_600.0

QUEUE = 4_096
"""Flights that may wait: by default as many as eight lanes may have pending, so their bound comes first."""


class OrganisationsError(ValueError):
    """The organisations file is wrong. ``problems``: a sentence each, with the line; none shows a secret."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n  ".join([f"{path} is wrong:", *problems]))
        self.path = path
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Organisation:
    """How one organisation is asked (``org_id`` None: the default). Lifetimes in seconds; 0: not kept."""

    org_id: int | None = None
    name: str | None = None
    lookup: Endpoint | None = None
    ca_pem: str | None = field(default=None, repr=False)  # the content, so that a renewed file is a change
    concurrency: int = 64
    queue: int = QUEUE
    subscribed_lifetime: float = DAY
    not_subscribed_lifetime: float = HOUR
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    in_message: InMessage = InMessage.IGNORED
    rate: RatePolicy = field(default_factory=RatePolicy)


@dataclass(frozen=True, slots=True)
class Organisations:
    """The lookup policy of every organisation. Never changes: a changed file is loaded into a new one."""

    default: Organisation = field(default_factory=Organisation)
    entries: Mapping[int, Organisation] = field(default_factory=dict)

    @classmethod
    def from_default(
        cls,
        lookup: Endpoint | None,
        *,
        concurrency: int = 64,
        subscribed_lifetime: float = DAY,
        not_subscribed_lifetime: float = HOUR,
    ) -> Organisations:
        """The same lookup (or none) for everybody, as the plain ``LOOKUP_…`` settings have it."""
        return cls(
            Organisation(
                lookup=lookup,
                concurrency=concurrency,
                subscribed_lifetime=subscribed_lifetime,
                not_subscribed_lifetime=not_subscribed_lifetime,
            )
        )

    def of(self, org_id: int) -> Organisation:
        """That organisation's own entry, or the default."""
        return self.entries.get(org_id, self.default)

    def __iter__(self) -> Iterator[Organisation]:
        """The organisations with an entry, by id."""
        return iter([self.entries[org_id] for org_id in sorted(self.entries)])


def load_organisations(path: Path, environ: Mapping[str, str]) -> Organisations:
    """The organisations that the file names, with the secrets that ``environ`` holds.

    Raises OrganisationsError with everything that is wrong, as far as it can be told at once.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors put a byte-order mark first
        content = tomllib.loads(text)
    except OSError as error:
        raise OrganisationsError(path, [f"it cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise OrganisationsError(path, [f"it is not UTF-8 from byte {error.start} on"]) from None
    except tomllib.TOMLDecodeError as error:
        raise OrganisationsError(path, [f"it is not TOML: {error}"]) from None
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise OrganisationsError(path, ["it is not TOML that can be read: a number is too long"]) from None
    except RecursionError:
        raise OrganisationsError(path, ["it is not TOML that can be read: nested too deeply"]) from None
    reader = _Reader(text, environ, path.parent)
    organisations = reader.organisations(content)
    if reader.problems:
        raise OrganisationsError(path, reader.problems)
    return organisations


class _Reader:
    """Reads one file's content, and collects what is wrong with it on the way."""

    def __init__(self, text: str, environ: Mapping[str, str], folder: Path) -> None:
        self.problems: list[str] = []
        self._lines = lines(text)
        self._environ = environ
        self._folder = folder

    def organisations(self, content: dict[str, Any]) -> Organisations:
        for key in content:
            if key not in ("default", "organisation"):
                self._complain((key,), unknown(key, ["default", "organisation"]))
        raw_default = content.get("default", {})
        if not isinstance(raw_default, dict):
            self._complain(("default",), "must be a table, as in [default]")
            raw_default = {}
        default = self._table(("default",), raw_default)
        if "authorization" in default and "url" not in raw_default:
            self._complain(("default",), "has credentials, but no url to send them to")
        entries: dict[int, Organisation] = {}
        tables = content.get("organisation", {})
        if not isinstance(tables, dict):
            self._complain(
                ("organisation",), "must be a table for each organisation, as in [organisation.310]"
            )
            tables = {}
        for key, raw in tables.items():
            where = ("organisation", key)
            if not _ORG_ID.fullmatch(key):
                self._complain(
                    where, "is no organisation: after the dot stands its orgId, a whole number from 1"
                )
                continue
            if not isinstance(raw, dict):
                self._complain(where, f"must be a table, as in [organisation.{key}]")
                continue
            own = self._table(where, raw)
            if {"url", "lookup"}.isdisjoint([*raw, *raw_default]):
                self._complain(
                    where, 'has no url, and [default] has none: give one, or write lookup = "none"'
                )
            entries[int(key)] = self._organisation(where, int(key), _with_default(default, own))
        return Organisations(self._organisation(("default",), None, default), entries)

    def _table(self, where: tuple[str, ...], raw: dict[str, Any]) -> dict[str, Any]:
        """The values of one table as they are used, wrong ones left out; credentials as "authorization"."""
        values: dict[str, Any] = {}
        for name, value in raw.items():
            key = KEYS.get(name)
            if key is None:
                self._complain((*where, name), unknown(name, list(KEYS)))
                continue
            try:
                values[name] = key.read(value)
            except ValueError:
                given = f" = {shown(value)}" if key.shown else ""
                self._complain((*where, name), f"{given}: allowed is {key.allowed}")
        if "url" in raw and "lookup" in raw:
            self._complain((*where, "lookup"), "contradicts the url beside it: leave one of the two out")
        if "ca_file" in values:
            values["ca_pem"] = self._certificates((*where, "ca_file"), values.pop("ca_file"))
        authorization = self._authorization(where, raw, values)
        if authorization is not None:
            values["authorization"] = authorization
        return values

    def _authorization(
        self, where: tuple[str, ...], raw: dict[str, Any], values: dict[str, Any]
    ) -> str | None:
        has_basic = not {"user", "password_env"}.isdisjoint(raw)
        if "authorization_env" in raw and has_basic:
            self._complain(
                where, "has authorization_env and user or password_env: one kind of credentials only"
            )
        elif has_basic and not {"user", "password_env"} <= raw.keys():
            self._complain(where, "has only one of user and password_env: Basic authentication needs both")
        elif "authorization_env" in values:
            return self._secret((*where, "authorization_env"), values["authorization_env"])
        elif "user" in values and "password_env" in values:
            password = self._secret((*where, "password_env"), values["password_env"])
            return None if password is None else basic(values["user"], password)
        return None

    def _secret(self, where: tuple[str, ...], variable: str) -> str | None:
        value = self._environ.get(variable, "").strip()  # a mounted secret often ends with a line break
        if not value:
            # In other letters than a variable's, it may be the secret itself.
            what = f"the environment variable {variable}, which" if variable.isupper() else _NO_NAME
            self._complain(where, f"names {what} is not set")
        elif where[-1] == "authorization_env" and not (value.isascii() and value.isprintable()):
            # RFC 9110, section 5.5: a line break in a field value would begin a second header.
            self._complain(where, f"names {variable}, whose value (not shown) is not printable ASCII")
        else:
            return value
        return None

    def _certificates(self, where: tuple[str, ...], path: Path) -> str | None:
        try:
            return pem(self._folder / path)
        except OSError as error:
            self._complain(where, f" = {shown(str(path))}: {error.strerror}")
        except ValueError:
            self._complain(where, f" = {shown(str(path))}: no certificate can be read from it")
        return None

    def _organisation(
        self, where: tuple[str, ...], org_id: int | None, values: dict[str, Any]
    ) -> Organisation:
        breaker = BreakerPolicy(
            **{name.removeprefix("breaker_"): value for name, value in values.items() if "breaker_" in name}
        )
        if breaker.first_pause > breaker.longest_pause:
            self._complain(
                where,
                f"has breaker_first_pause ({breaker.first_pause:g} s) above "
                f"breaker_longest_pause ({breaker.longest_pause:g} s)",
            )
        if "burst" in values and "requests_per_second" not in values:
            self._complain(where, "has a burst, but no requests_per_second that it could exceed")
        rate = RatePolicy(values.get("requests_per_second", math.inf), values.get("burst", 1))
        # The bulkhead lets through no more at a time, so the client never has to make one wait for a
        # connection.
        lookup = _only(
            values, "url", "authorization", "deadline", "on_not_found", "empty_means", "subscribed_when"
        )
        kept = ("name", "ca_pem", "concurrency", "queue", "subscribed_lifetime", "not_subscribed_lifetime")
        in_message = values.get("is_subscribed_in_message", InMessage.IGNORED)
        policy = Organisation(
            org_id=org_id, breaker=breaker, in_message=in_message, rate=rate, **_only(values, *kept)
        )
        if "url" not in values or "lookup" in values:
            return policy
        return replace(policy, lookup=Endpoint(**lookup, connections=policy.concurrency))

    def _complain(self, where: tuple[str, ...], sentence: str) -> None:
        known = (
            self._lines[where[:depth]] for depth in range(len(where), 0, -1) if where[:depth] in self._lines
        )
        line = next(known, None)
        gap = "" if sentence.startswith((" ", ":")) else " "
        self.problems.append(f"{'' if line is None else f'line {line}: '}{'.'.join(where)}{gap}{sentence}")


def _with_default(default: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    lent = {name: value for name, value in default.items() if name != "name"}
    if "url" in own:  # another service: the default's secrets are not for it, nor whom the default trusts
        for name in ("authorization", "ca_pem", "lookup"):
            lent.pop(name, None)
    return lent | own


def _only(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
