"""Proca's events, which it may write to the same topic as actions: they ask for no confirmation."""

from __future__ import annotations

from typing import Any

from streams.messages.strict_json import Undecodable, parse

_SCHEMA = "proca:event:"


def is_event(message: dict[str, Any]) -> bool:
    """Whether a decoded message is an event: its schema says so, and it has no stage."""
    schema = message.get("schema")
    return isinstance(schema, str) and schema.startswith(_SCHEMA) and "stage" not in message


def holds_event(value: bytes) -> bool:
    """Whether the value of a record is an event. Never raises."""
    if _SCHEMA.encode() not in value:
        return False  # the usual case, and a fast one
    try:
        message = parse(value)
    except Undecodable:  # an action of another stage, of which only the stage was read
        return False
    return isinstance(message, dict) and is_event(message)
