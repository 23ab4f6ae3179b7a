"""The body of a lookup's reply: does it say that somebody is subscribed?"""

from __future__ import annotations

from typing import Any

import msgspec

from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.messages.strict_json import ErrorClass, Repeated, Undecodable, parse

SUBSCRIBED_WHEN = ("privacy.optIn", "action.privacy.optIn", "action.customFields.isSubscribed")
"""Where a lookup's reply, in either dialect, says that somebody is subscribed."""


NOT_SUBSCRIBED = LookupOutcome(Outcome.NON_EXISTING)


def decode_lookup_reply(
    body: bytes,
    subscribed_when: tuple[str, ...] = SUBSCRIBED_WHEN,
    *,
    contact_ref: str | None = None,
    empty: LookupOutcome = NOT_SUBSCRIBED,
) -> LookupOutcome:
    """Read the body of a lookup's reply with status 200 (``schemas/lookup-reply.json``). Never raises.

    Somebody is subscribed if at least one of the named fields is ``true``, none is ``false``, and no
    ``emailStatus`` speaks against it. A named field that is anything but true, false or null, or an object on
    the way to one that repeats a key, makes the whole reply ``wrong_data``: consent is never guessed upward.
    So does a reply in which none of the fields is that are read: it is about something else. So does one that
    names another ``contactRef`` than was asked for: it is about somebody else. A reply is empty if it is
    ``{}``, or if all that it has are objects on the way to the fields, empty or null.

    Args:
        body: the bytes, inflated and bounded by the caller.
        subscribed_when: dotted paths of the named fields.
        contact_ref: who was asked for; None: any ``contactRef`` in the reply is right.
        empty: what an empty reply comes to.
    """
    if not body.strip():
        return _NO_DATA
    try:
        raw = _decode_reply(body).action
        reply = parse(body)
        if not isinstance(reply, dict):
            return _WRONG_DATA
        says = [_at(reply, path) for path in subscribed_when]
        statuses = [_at(reply, path) for path in _EMAIL_STATUS_AT]
        custom_fields = _at(reply, _CUSTOM_FIELDS_AT)
    except (ValueError, RecursionError):
        return _WRONG_DATA
    if not all(said is None or said is True or said is False for said in says):
        return _WRONG_DATA
    if not all(status is None or isinstance(status, str) for status in statuses):
        return _WRONG_DATA
    if custom_fields is not None and not isinstance(custom_fields, dict):
        return _WRONG_DATA
    if contact_ref is not None and _names_another(reply, contact_ref):
        return _SOMEBODY_ELSE
    paths = (*subscribed_when, *_EMAIL_STATUS_AT, _CUSTOM_FIELDS_AT)
    if not any(_mentions(reply, path) for path in paths):
        return _NOTHING_KNOWN
    if not any(_holds(reply, path) for path in paths):
        return empty
    refused = any(status is not None and status.strip().lower() in _OVERRIDES for status in statuses)
    subscribed = True in says and False not in says and not refused
    outcome = Outcome.EXISTING if subscribed else Outcome.NON_EXISTING
    if custom_fields is None or raw is None:
        return _ANSWERS[outcome]
    return LookupOutcome(outcome, custom_fields=bytes(raw.customFields))


def says_subscribed(message: bytes) -> bool:
    """Whether a message's ``action.customFields.isSubscribed`` is ``true``, by the rules of a lookup's reply.

    So an ``emailStatus`` in the message can speak against it, and a repeated key on the way there does.
    """
    return (
        b"isSubscribed" in message
        and decode_lookup_reply(message, ("action.customFields.isSubscribed",)).outcome is Outcome.EXISTING
    )


_NO_DATA = LookupOutcome(Outcome.ERROR, Cause.NO_DATA)
_WRONG_DATA = LookupOutcome(Outcome.ERROR, Cause.WRONG_DATA)
_NOTHING_KNOWN = LookupOutcome(
    Outcome.ERROR, Cause.WRONG_DATA, detail="none of the known fields was in the answer"
)
_SOMEBODY_ELSE = LookupOutcome(
    Outcome.ERROR, Cause.WRONG_DATA, detail="the answer names another contactRef than the question"
)
_ANSWERS = {outcome: LookupOutcome(outcome) for outcome in (Outcome.EXISTING, Outcome.NON_EXISTING)}

_EMAIL_STATUS_AT = ("privacy.emailStatus", "customer.emailStatus", "action.privacy.emailStatus")
_CUSTOM_FIELDS_AT = "action.customFields"
#: Statuses that override any opt-in.
_OVERRIDES = frozenset({"bounce", "blocked", "spam", "unsub", "inactive"})


class _ReplyAction(msgspec.Struct):
    customFields: msgspec.Raw = msgspec.Raw()


class _Reply(msgspec.Struct):
    action: _ReplyAction | None = None


_decode_reply = msgspec.json.Decoder(_Reply).decode


def _at(reply: dict[str, Any], dotted: str) -> Any:
    """What is at a path, None where it or an object on the way is missing or null."""
    here: Any = reply
    for name in dotted.split("."):
        if here is None:
            return None
        if not isinstance(here, dict):
            raise Undecodable(ErrorClass.FIELD_TYPE)
        if isinstance(here, Repeated):
            raise Undecodable(ErrorClass.DUPLICATE_KEY)
        here = here.get(name)
    return here


def _mentions(reply: dict[str, Any], dotted: str) -> bool:
    """Whether there is something at a path, if only null, or an object on the way is empty or null."""
    here: Any = reply
    for name in dotted.split("."):
        if not here:
            return True
        if name not in here:
            return False
        here = here[name]
    return True


def _holds(reply: dict[str, Any], dotted: str) -> bool:
    """Whether there is something at a path, if only null."""
    *objects, last = dotted.split(".")
    here: Any = reply
    for name in objects:
        here = (here or {}).get(name)
    return last in (here or {})


def _names_another(reply: dict[str, Any], contact_ref: str) -> bool:
    """Whether the reply, or an object in it, has a ``contactRef`` that is neither null nor this one."""
    for part in (reply, *reply.values()):
        if isinstance(part, Repeated) and "contactRef" in part.keys_repeated:
            return True
        if isinstance(part, dict) and part.get("contactRef") not in (None, contact_ref):
            return True
    return False
