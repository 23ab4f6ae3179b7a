"""What an action's letter is about: of two letters about the same, a mailer's reader needs one."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from streams.messages.strict_json import parse


def letter_key(key: bytes, value: bytes) -> bytes:
    """Return what an action's letter is about, as 32 hexadecimal digits that name nobody.

    It is the same for two actions with the same ``orgId``, ``contactRef`` and ``actionId`` that both are
    reminders (``action.customFields.reminder`` is ``true``, and nothing else), or both are none.

    Args:
        key: ``orgId:contactRef`` of the action.
        value: the action, which ``decode_action`` has read.
    """
    try:
        head = _decode_head(value)
        action_id, action = head.actionId, head.action
    except (ValueError, RecursionError):  # it has something that the fast decoder refuses
        message = parse(value)
        action_id, action = message["actionId"], message.get("action")
    fields = action.get("customFields") if isinstance(action, dict) else None
    is_reminder = isinstance(fields, dict) and fields.get("reminder") is True
    return blake2b(b"%b %d %d" % (key, action_id, is_reminder), digest_size=16).hexdigest().encode()


class _Head(msgspec.Struct):
    actionId: int
    action: Any = None


_decode_head = msgspec.json.Decoder(_Head).decode
