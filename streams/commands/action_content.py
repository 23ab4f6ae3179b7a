"""What the value of an action record says, as far as an operator needs it: never who signed. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from streams.messages.decode import Undecodable, decode_action, status_key
from streams.messages.no_letter import why_no_letter
from streams.messages.strict_json import parse


class Content(NamedTuple):
    """One of `key`, `ignored` and `error_class` is set."""

    action_id: int | None
    org_id: int | None
    key: bytes | None = None  # under which its status is filed: it asks for an email
    ignored: str | None = None  # why it asks for none
    error_class: str | None = None  # why no email can be made from it
    json_path: str | None = None


def content_of(value: bytes | None, repeats_at: str | None) -> Content:
    """Read a value as the worker does.

    Args:
        value: of the record.
        repeats_at: a stage at which repeat signers get an email, too; None: there is none.
    """
    if value is None:
        return Content(None, None, ignored="tombstone")
    try:
        action = decode_action(value, repeats_at)
        if action is not None:
            key = status_key(action.org_id, action.contact_ref)
            return Content(action.action_id, action.org_id, key=key)
    except Undecodable as error:
        return Content(*_numbers(value), error_class=str(error.error_class), json_path=error.json_path)
    return Content(*_numbers(value), ignored=str(why_no_letter(value)))


class HasActionId:
    """Tells whether a record has an actionId, also one that is ignored or damaged."""

    def __init__(self, action_id: int, repeats_at: str | None) -> None:
        """Look for this one."""
        self._action_id = action_id
        self._repeats_at = repeats_at
        self._digits = b"%d" % action_id  # JSON has one way only to write a whole number
        self._in_damaged = re.compile(rb'"actionId"\s*:\s*%d(?![0-9.eE])' % action_id)

    def __call__(self, value: bytes | None) -> bool:
        """Whether this is the value of a record with the actionId."""
        if value is None or self._digits not in value:
            return False
        content = content_of(value, self._repeats_at)
        if content.action_id is None and content.error_class is not None:
            return self._in_damaged.search(value) is not None
        return content.action_id == self._action_id


def _numbers(value: bytes) -> tuple[int | None, int | None]:
    """The actionId and orgId of a value from which no email is made; None where they cannot be read."""
    try:
        message = parse(value)
    except Undecodable:
        return None, None
    if not isinstance(message, dict):
        return None, None
    return _whole(message.get("actionId")), _whole(message.get("orgId"))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
