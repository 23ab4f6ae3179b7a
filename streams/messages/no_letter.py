"""Which messages of the topic ``actions`` ask for no confirmation, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from streams.messages.strict_json import Undecodable, parse

ASKS_FOR_CONFIRMATION = "supporter_confirm"
"""The stage at which an action asks for a confirmation."""


class NoLetter(StrEnum):
    """Why a message asks for no confirmation."""

    __hash__ = str.__hash__  # Enum's is written in Python

    STAGE = "stage"  # it is at another stage
    EVENT = "event"  # it is one of Proca's events
    NO_CONSENT = "no_consent"  # its privacy.withConsent is false, as in share actions


def why_no_letter(value: bytes) -> NoLetter:
    """Return why a message for which ``decode_action`` returned None asks for no confirmation."""
    try:
        head = _decode_head(value)
        stage, schema = head.stage, head.schema
    except (ValueError, RecursionError):
        try:
            message = parse(value)
        except Undecodable:  # of an action at another stage only the stage was read
            return NoLetter.STAGE
        stage, schema = message.get("stage", msgspec.UNSET), message.get("schema")
    if stage is msgspec.UNSET and is_event(schema):
        return NoLetter.EVENT
    return NoLetter.NO_CONSENT if stage == ASKS_FOR_CONFIRMATION else NoLetter.STAGE


def is_event(schema: object) -> bool:
    """Whether a message with this schema, and without a stage, is one of Proca's events."""
    return isinstance(schema, str) and schema.startswith("proca:event:")


def is_repeat(dupe_rank: object) -> bool:
    """Whether a supporter with this ``dupeRank`` has signed before: it is a whole number above 0."""
    return isinstance(dupe_rank, int) and not isinstance(dupe_rank, bool) and dupe_rank > 0


class _Head(msgspec.Struct):
    stage: Any = msgspec.UNSET
    schema: Any = None


_decode_head = msgspec.json.Decoder(_Head).decode
