"""What crosses a boundary: decode what is read, encode what is written.

The shapes are those of ``schemas/``. Decoding looks only at what decides; everything else in an action
passes through unread and byte for byte unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

ASKS_FOR_CONFIRMATION = "supporter_confirm"


class Undecodable(ValueError):
    """A message that cannot be read. Carries an error class and a JSON path, never the message's content.

    The text of the decoder's own exception may quote the input, and with it an address: it is not kept.
    """

    def __init__(self, error_class: str, json_path: str = "$") -> None:
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
