"""What one line of a JSON lines file becomes on its topic: a key, and the line byte for byte.

An action without a readable key is sent all the same, without a key: what becomes of it is the worker's to
say (a dead letter), and a feed that filtered would hide it. A status without a key cannot be sent: a
compacted topic takes no record without one. A status line with ``"forget": true`` becomes a tombstone:

    {"orgId": 310, "contactRef": "q2…", "forget": true}
"""

from typing import NamedTuple

import msgspec


class Unsendable(ValueError):
    """A line that this topic cannot take. The text says why and quotes nothing of the line."""


class Message(NamedTuple):
    """One record to be sent; at least one of the two is not None."""

    key: bytes | None
    value: bytes | None


class _Contact(msgspec.Struct):
    contactRef: str | None = None
    ref: str | None = None


class _Action(msgspec.Struct):
    orgId: int
    contact: _Contact


class _Status(msgspec.Struct):
    orgId: int
    contactRef: str
    forget: bool = False


_decode_action = msgspec.json.Decoder(_Action).decode
_decode_status = msgspec.json.Decoder(_Status).decode
# ValueError: a lone surrogate has no UTF-8 form. RecursionError: thousands of nested brackets.
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


def _key(org_id: int, contact_ref: str) -> bytes:
    return f"{org_id}:{contact_ref}".encode()


def action_message(line: bytes) -> Message:
    """The record for one line of actions; without a key if orgId or contactRef cannot be read."""
    try:
        action = _decode_action(line)
        reference = action.contact.contactRef or action.contact.ref
        return Message(_key(action.orgId, reference) if reference else None, line)
    except _UNREADABLE:
        return Message(None, line)


def status_message(line: bytes) -> Message:
    """The record for one line of supporter statuses; raises Unsendable if it has no readable key."""
    try:
        status = _decode_status(line)
        if not status.contactRef:
            raise Unsendable("contactRef is empty")
        return Message(_key(status.orgId, status.contactRef), None if status.forget else line)
    except Unsendable:
        raise
    except _UNREADABLE:
        # The decoder's own text may quote the line.
        raise Unsendable("no JSON object with orgId, contactRef and, if given, a boolean forget") from None
