"""What a trace is asked about, as a person writes it. Pure."""

import re
from typing import NamedTuple

from streams.commands.topic_reader import RecordId

ALLOWED = (
    "allowed is an actionId (a whole number), a place (topic:partition:offset, or with slashes), or the id of"
    " an email"
)
_NUMBER = re.compile(r"-?\d{1,30}", re.ASCII)
_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249})([:/])(\d{1,10})\2(\d{1,18})", re.ASCII)
_EMAIL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class ActionNumber(NamedTuple):
    """Every record with this actionId: a reminder has the same one as the action that it reminds of."""

    action_id: int


class Place(NamedTuple):
    """One record: an action, a re-keyed one, an email or a dead letter."""

    topic: str
    id: RecordId


class EmailId(NamedTuple):
    """The action whose email has this id (``id`` in its value, ``ce_id`` in its headers)."""

    text: str


Subject = ActionNumber | Place | EmailId


def subject_of(text: str) -> Subject:
    """Read what a person wrote. Raises ValueError, whose text says what is allowed."""
    if _NUMBER.fullmatch(text):
        return ActionNumber(int(text))
    if place := _PLACE.fullmatch(text):
        return Place(place[1], RecordId(int(place[3]), int(place[4])))
    if _EMAIL_ID.fullmatch(text.lower()):
        return EmailId(text.lower())
    raise ValueError(ALLOWED)
