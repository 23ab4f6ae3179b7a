"""What crosses a boundary: decode what is read, encode what is written.

The shapes are those of ``schemas/``. Decoding looks only at what decides; everything else in an action
passes through unread and byte for byte unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, NoReturn

import msgspec

ASKS_FOR_CONFIRMATION = "supporter_confirm"


class ErrorClass(StrEnum):
    """Why a record became a dead letter: a closed set, since it is a header and a metric label."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_DEEP = "too_deep"
    FIELD_MISSING = "field_missing"
    FIELD_TYPE = "field_type"
    FIELD_EMPTY = "field_empty"
    KEY_MISMATCH = "key_mismatch"
    TOO_LARGE = "too_large"
    INTERNAL_ERROR = "internal_error"


class Undecodable(ValueError):
    """A message that cannot be read. Carries an error class and a JSON path, never the message's content.

    The text of the decoder's own exception may quote the input, and with it an address: it is not kept.
    """

    def __init__(self, error_class: ErrorClass, json_path: str = "$") -> None:
        super().__init__(f"{error_class} at {json_path}")
        self.error_class = error_class
        self.json_path = json_path


class Action(NamedTuple):
    """The deciding fields of a ``proca:action:2`` (or ``:1``) message that asks for a confirmation."""

    action_id: int
    org_id: int
    contact_ref: str
    email: str


class SupporterStatus(NamedTuple):
    """One row of the ``supporter-status`` topic."""

    org_id: int
    contact_ref: str
    subscribed: bool
    as_of: float  # seconds since the epoch


class Variant(StrEnum):
    """Which letter the mailer sends."""

    ONE_BUTTON = "one_button"
    TWO_BUTTON = "two_button"


class Reason(StrEnum):
    """Why that letter: one per row of the decision table."""

    KNOWN_SUBSCRIBED = "known_subscribed"
    KNOWN_NOT_SUBSCRIBED = "known_not_subscribed"
    LOOKUP_SUBSCRIBED = "lookup_subscribed"
    LOOKUP_NOT_SUBSCRIBED = "lookup_not_subscribed"
    LOOKUP_FAILED = "lookup_failed"
    NO_LOOKUP = "no_lookup"


class Outcome(StrEnum):
    """How a lookup ended, as its counter and the email record name it."""

    EXISTING = "existing"
    NON_EXISTING = "non_existing"
    ERROR = "error"


class Cause(StrEnum):
    """Why a lookup failed: a closed set, since it is a metric label."""

    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    HTTP_STATUS = "http_status"
    REDIRECT = "redirect"
    NO_DATA = "no_data"
    WRONG_DATA = "wrong_data"
    TOO_LARGE = "too_large"
    PROTOCOL = "protocol"
    CIRCUIT_OPEN = "circuit_open"
    SATURATED = "saturated"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True)
class LookupOutcome:
    """What a lookup came to: a value in every case, never an exception."""

    outcome: Outcome
    cause: Cause | None = None  # set exactly when outcome is ERROR
    custom_fields: bytes | None = None  # the reply's action.customFields as raw JSON, or None


# -- actions ---------------------------------------------------------------------------------------------


class _Contact(msgspec.Struct):
    email: str
    contactRef: str = ""
    ref: str = ""  # what proca:action:1 calls it


class _Action(msgspec.Struct):
    stage: str
    actionId: int
    orgId: int
    contact: _Contact


_decode_action = msgspec.json.Decoder(_Action).decode


def decode_action(value: bytes) -> Action | None:
    """Read the deciding fields of an action; None when its stage asks for no confirmation.

    msgspec checks everything that it passes over but the UTF-8 of strings. What it refuses is looked at once
    more by the standard library, which accepts lone surrogate escapes: a name with one still gets its email.

    Raises:
        Undecodable: no email can be made from it.
    """
    try:
        str(value, "utf-8")
        fields = _decode_action(value)
    except UnicodeDecodeError:
        raise Undecodable(ErrorClass.NOT_UTF8) from None
    except (msgspec.DecodeError, RecursionError):
        return _decode_slowly(value)
    if fields.stage != ASKS_FOR_CONFIRMATION:
        return None
    contact = fields.contact
    action = Action(fields.actionId, fields.orgId, contact.contactRef or contact.ref, contact.email)
    if not action.contact_ref or not action.email or action.email.isspace() or action.contact_ref.isspace():
        return _decode_slowly(value)
    return action


def _decode_slowly(value: bytes) -> Action | None:
    document = _parsed(value)
    if not isinstance(document, dict):
        raise Undecodable(ErrorClass.NOT_AN_OBJECT)
    stage = _field(document, "$", "stage", str)
    if stage != ASKS_FOR_CONFIRMATION:
        return None
    action_id = _field(document, "$", "actionId", int)
    org_id = _field(document, "$", "orgId", int)
    contact = _field(document, "$", "contact", dict)
    name = "contactRef" if "contactRef" in contact or "ref" not in contact else "ref"
    return Action(
        action_id,
        org_id,
        _field(contact, "$.contact", name, str),
        _field(contact, "$.contact", "email", str),
    )


def _field(document: Mapping[str, Any], parent: str, name: str, kind: type) -> Any:
    path = f"{parent}.{name}"
    if name not in document:
        raise Undecodable(ErrorClass.FIELD_MISSING, path)
    found = document[name]
    if type(found) is not kind:  # a bool is no int here
        raise Undecodable(ErrorClass.FIELD_TYPE, path)
    if isinstance(found, str):
        if not found.strip():
            raise Undecodable(ErrorClass.FIELD_EMPTY, path)
        try:
            found.encode()
        except UnicodeEncodeError:  # a lone surrogate: neither a key nor an address
            raise Undecodable(ErrorClass.FIELD_TYPE, path) from None
    return found


def _parsed(value: bytes) -> Any:
    try:
        return json.loads(str(value, "utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Undecodable(ErrorClass.NOT_UTF8) from None
    except RecursionError:
        raise Undecodable(ErrorClass.TOO_DEEP) from None
    except ValueError:
        raise Undecodable(ErrorClass.NOT_JSON) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259, section 6)")


# -- supporter statuses ------------------------------------------------------------------------------------


def status_key(org_id: int, contact_ref: str) -> bytes:
    """Return the key under which a supporter's status is kept: it belongs to one organisation."""
    return f"{org_id}:{contact_ref}".encode()


def decode_supporter_status(key: bytes | None, value: bytes) -> SupporterStatus:
    """Read a row of the status topic. (A tombstone, a value that is null, is the caller's.)

    Raises:
        Undecodable: it says nothing certain about the supporter that its key names.
    """
    document = _parsed(value)
    if not isinstance(document, dict):
        raise Undecodable(ErrorClass.NOT_AN_OBJECT)
    org_id = _field(document, "$", "orgId", int)
    contact_ref = _field(document, "$", "contactRef", str)
    subscribed = _field(document, "$", "subscribed", bool)
    try:
        as_of = datetime.fromisoformat(_field(document, "$", "asOf", str))
    except ValueError:
        raise Undecodable(ErrorClass.FIELD_TYPE, "$.asOf") from None
    if as_of.tzinfo is None:
        raise Undecodable(ErrorClass.FIELD_TYPE, "$.asOf")
    if key != status_key(org_id, contact_ref):
        raise Undecodable(ErrorClass.KEY_MISMATCH, "$key")
    return SupporterStatus(org_id, contact_ref, subscribed, as_of.timestamp())


# -- lookup replies ----------------------------------------------------------------------------------------

#: Where a reply says that someone is a subscriber, in the two dialects in use.
SUBSCRIBED_WHEN = ("privacy.optIn", "action.privacy.optIn", "action.customFields.isSubscribed")
_EMAIL_STATUS = ("privacy.emailStatus", "customer.emailStatus", "action.privacy.emailStatus")
_OVERRIDES = frozenset({"bounce", "blocked", "spam", "unsub", "inactive"})
_ABSENT = object()
_ALLOWED = (True, False, None, _ABSENT)  # and nothing that merely equals one of them
_NO_DATA = LookupOutcome(Outcome.ERROR, Cause.NO_DATA)
_WRONG_DATA = LookupOutcome(Outcome.ERROR, Cause.WRONG_DATA)


class _Ambiguous(ValueError):
    """An object has a key twice."""


def decode_lookup_reply(body: bytes, subscribed_when: tuple[str, ...] = SUBSCRIBED_WHEN) -> LookupOutcome:
    """Read a lookup's reply. Never raises: what is not exactly an answer is a failure.

    Subscribed is who has JSON true at one of the places `subscribed_when` (dotted paths), false at none of
    them, and no ``emailStatus`` that says otherwise. Contradiction is doubt, and doubt is not subscribed.
    """
    if not body.strip():
        return _NO_DATA
    try:
        document = json.loads(
            str(body, "utf-8"), parse_constant=_no_constant, object_pairs_hook=_without_ambiguity
        )
        if not isinstance(document, dict):
            return _WRONG_DATA
        said = [_at(document, path) for path in subscribed_when]
        states = [_at(document, path) for path in _EMAIL_STATUS]
        custom_fields = _at(document, "action.customFields")
        if not all(any(value is allowed for allowed in _ALLOWED) for value in said):
            return _WRONG_DATA
        if not all(value is None or value is _ABSENT or isinstance(value, str) for value in states):
            return _WRONG_DATA
        raw = None if custom_fields in (None, _ABSENT) else json.dumps(custom_fields).encode()
        if raw is not None and not isinstance(custom_fields, dict):
            return _WRONG_DATA
    except (ValueError, RecursionError, TypeError):
        return _WRONG_DATA
    overridden = any(isinstance(value, str) and value.strip().lower() in _OVERRIDES for value in states)
    subscribed = (
        any(value is True for value in said) and not any(value is False for value in said) and not overridden
    )
    return LookupOutcome(Outcome.EXISTING if subscribed else Outcome.NON_EXISTING, None, raw)


def _without_ambiguity(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise _Ambiguous
    return document


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        if document is None or document is _ABSENT:
            return _ABSENT
        if not isinstance(document, dict):
            raise TypeError(path)
        document = document.get(name, _ABSENT)
    return document
