"""What crosses a boundary: its types, and how to decode what is read.

What is written is encoded by :mod:`streams.messages.email`.

The shapes are those of ``schemas/``. Decoding looks only at what decides; everything else in an action
passes through unread and byte for byte unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import msgspec

from streams.messages.no_letter import ASKS_FOR_CONFIRMATION, is_event, is_repeat
from streams.messages.strict_json import SURELY_PLAIN, Repeated, check_limits, parse
from streams.messages.strict_json import ErrorClass as ErrorClass
from streams.messages.strict_json import Undecodable as Undecodable

T = TypeVar("T")


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

    __hash__ = str.__hash__  # Enum's is written in Python

    ONE_BUTTON = "one_button"
    TWO_BUTTON = "two_button"


class Reason(StrEnum):
    """Why that letter: one per row of the decision table."""

    __hash__ = str.__hash__  # Enum's is written in Python

    KNOWN_SUBSCRIBED = "known_subscribed"
    KNOWN_NOT_SUBSCRIBED = "known_not_subscribed"
    LOOKUP_SUBSCRIBED = "lookup_subscribed"
    LOOKUP_NOT_SUBSCRIBED = "lookup_not_subscribed"
    LOOKUP_FAILED = "lookup_failed"
    NO_LOOKUP = "no_lookup"
    MESSAGE_SUBSCRIBED = "message_subscribed"


class Outcome(StrEnum):
    """How a lookup ended, as its counter and the email record name it."""

    __hash__ = str.__hash__  # Enum's is written in Python

    EXISTING = "existing"
    NON_EXISTING = "non_existing"
    ERROR = "error"


class Cause(StrEnum):
    """Why a lookup failed: a closed set, since it is a metric label."""

    __hash__ = str.__hash__  # Enum's is written in Python

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
    #: What exactly is wrong, for a person; it quotes nothing. Outcomes that differ only in it are equal.
    detail: str | None = field(default=None, compare=False)


def decode_action(value: bytes, repeats_at: str | None = None) -> Action | None:
    """Read a record of the topic ``actions`` (``schemas/action.json``).

    Repeated keys count as usual: the last one wins. The usual action takes about a microsecond; what the
    fast decoder refuses is read again by a slower one, which accepts lone surrogates outside the deciding
    fields and knows exactly what is wrong with the rest.

    Args:
        value: the record's value.
        repeats_at: a stage at which repeat signers (``contact.dupeRank`` above 0) ask for one, too.

    Returns:
        The deciding fields, or None where the action asks for no confirmation (``why_no_letter``).

    Raises:
        Undecodable: no email can be made from it.
    """
    try:
        if not value.isascii():
            str(value, "utf-8")  # msgspec does not look into the strings that it skips
        message = _decode_action(value)
    except (ValueError, RecursionError):
        message = None
    if message is None:  # out here, what the slow one raises has no __context__ that quotes the value
        return _decode_action_slowly(value, repeats_at)
    stage, contact = message.stage, message.contact
    if stage != ASKS_FOR_CONFIRMATION:
        if stage is None or not stage.strip():
            return _decode_action_slowly(value, repeats_at)
        if stage != repeats_at or contact is None or not is_repeat(contact.dupeRank):
            return None
    privacy = message.privacy
    if privacy is not None and privacy.withConsent is False:
        return None
    if len(value) > SURELY_PLAIN:
        check_limits(value)
    action_id, org_id = message.actionId, message.orgId
    if action_id is not None and org_id is not None and contact is not None:
        contact_ref, email = contact.contactRef or contact.ref, contact.email
        if contact_ref and email and not contact_ref.isspace() and not email.isspace():
            return _new(Action, (action_id, org_id, contact_ref, email))
    return _decode_action_slowly(value, repeats_at)


def decode_supporter_status(key: bytes | None, value: bytes) -> SupporterStatus:
    """Read a record of the topic ``supporter-status`` (``schemas/supporter-status.json``) but a tombstone.

    A repeated key of a field is refused: that the last one wins would be a guess about consent. The usual
    status takes two microseconds; all others are read by a slower decoder, which knows exactly what is wrong.

    Args:
        key: the record's key, which must be that of the value's organisation and contact.
        value: the record's value. The JSON text ``null`` is no tombstone.

    Raises:
        Undecodable: the record says nothing reliable; the path of a fault in the key is ``$key``.
    """
    if not key:
        raise Undecodable(ErrorClass.FIELD_MISSING, "$key")
    usual = _usual_status(value)
    if usual is not None:
        if key != status_key(usual.org_id, usual.contact_ref):
            raise Undecodable(ErrorClass.KEY_MISMATCH, "$key")
        return usual
    message = _object(parse(value))
    if isinstance(message, Repeated):
        for name in ("orgId", "contactRef", "subscribed", "asOf"):
            if name in message.keys_repeated:
                raise Undecodable(ErrorClass.DUPLICATE_KEY, f"$.{name}")
    org_id = _field(message, "orgId", int)
    contact_ref = _text(message, "contactRef")
    subscribed = _field(message, "subscribed", bool)
    as_of = _seconds(_text(message, "asOf"))
    if as_of is None:
        raise Undecodable(ErrorClass.FIELD_VALUE, "$.asOf")
    if key != status_key(org_id, contact_ref):
        raise Undecodable(ErrorClass.KEY_MISMATCH, "$key")
    return SupporterStatus(org_id, contact_ref, subscribed, as_of)


def status_key(org_id: int, contact_ref: str) -> bytes:
    """Return the key ``orgId:contactRef``, under which both an action and a status are filed.

    Raises:
        UnicodeEncodeError: ``contact_ref`` holds a lone surrogate, which no decoder here lets through.
    """
    return f"{org_id}:{contact_ref}".encode()


class _Contact(msgspec.Struct, gc=False):
    contactRef: str | None = None
    ref: str | None = None  # what proca:action:1 calls it
    email: str | None = None
    dupeRank: Any = None


class _Privacy(msgspec.Struct, gc=False):
    withConsent: Any = None


class _ActionMessage(msgspec.Struct, gc=False):
    stage: str | None = None
    actionId: int | None = None
    orgId: int | None = None
    contact: _Contact | None = None
    privacy: _Privacy | None = None


class _StatusMessage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    orgId: int
    contactRef: str
    subscribed: bool
    asOf: str


_new = tuple.__new__  # a named tuple's own constructor takes a tenth of a microsecond longer
_decode_action = msgspec.json.Decoder(_ActionMessage).decode
_decode_status = msgspec.json.Decoder(_StatusMessage).decode


def _decode_action_slowly(value: bytes, repeats_at: str | None) -> Action | None:
    message = _object(parse(value))
    if "stage" not in message and is_event(message.get("schema")):
        return None
    stage = _text(message, "stage")
    if stage != ASKS_FOR_CONFIRMATION:
        signer = message.get("contact")
        if stage != repeats_at or not isinstance(signer, dict) or not is_repeat(signer.get("dupeRank")):
            return None
    privacy = message.get("privacy")
    if isinstance(privacy, dict) and privacy.get("withConsent") is False:
        return None
    action_id = _field(message, "actionId", int)
    org_id = _field(message, "orgId", int)
    contact = _field(message, "contact", dict)
    older = contact.get("contactRef") in (None, "") and contact.get("ref") is not None
    contact_ref = _text(contact, "ref" if older else "contactRef", "$.contact")
    if contact.get("email") is None and isinstance(message.get("personalInfo"), dict):
        raise Undecodable(ErrorClass.EMAIL_ENCRYPTED, "$.contact.email")
    return Action(action_id, org_id, contact_ref, _text(contact, "email", "$.contact"))


def _usual_status(value: bytes) -> SupporterStatus | None:
    """Read a status with the four known keys, each of them once, in any order; None: look more closely."""
    # Four keys and two texts have twelve quotation marks. One more key, a repeated one too, has more of them,
    # and without escapes none is part of a text.
    if len(value) > SURELY_PLAIN or value.count(b'"') != 12 or b"\\" in value:
        return None
    try:
        message = _decode_status(value)
    except ValueError:
        return None
    contact_ref, as_of = message.contactRef, _seconds(message.asOf)
    if as_of is None or not contact_ref or contact_ref.isspace():
        return None
    return _new(SupporterStatus, (message.orgId, contact_ref, message.subscribed, as_of))


def _object(parsed: Any) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        raise Undecodable(ErrorClass.NOT_AN_OBJECT)
    return parsed


def _field(message: dict[str, Any], name: str, kind: type[T], parent: str = "$") -> T:
    if name not in message:
        raise Undecodable(ErrorClass.FIELD_MISSING, f"{parent}.{name}")
    found = message[name]
    # For Python a bool is an int.
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise Undecodable(ErrorClass.FIELD_TYPE, f"{parent}.{name}")
    return found


def _text(message: dict[str, Any], name: str, parent: str = "$") -> str:
    text = _field(message, name, str, parent)
    if not text.strip():
        raise Undecodable(ErrorClass.FIELD_EMPTY, f"{parent}.{name}")
    if _SURROGATE.search(text):
        raise Undecodable(ErrorClass.FIELD_VALUE, f"{parent}.{name}")  # it has no UTF-8 form
    return text


_SURROGATE = re.compile("[\ud800-\udfff]")


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _seconds(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 date-time; None where it is none (or a leap second)."""
    if _RFC_3339.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except ValueError:
        return None
