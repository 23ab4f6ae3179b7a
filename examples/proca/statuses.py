"""What Proca's messages say about somebody's consent, as a row of the topic of supporter statuses. Pure.

A row is written where Proca is sure: consent is never guessed. Of everybody else no row says anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from streams.commands.keyed_lines import Message
from streams.messages.decode import decode_supporter_status, status_key
from streams.messages.strict_json import Undecodable, parse

#: Proca publishes an organisation's messages on exchanges that begin with its id.
_EXCHANGE = re.compile(r"org\.([0-9]{1,18})\.(?:deliver|event)", re.ASCII)
_LOST = frozenset({"unsub", "bounce", "blocked", "spam", "inactive"})
_DOUBLE_OPT_IN = "double_opt_in"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message that becomes no record, and why: a word for a metric's label."""

    why: str


def status_of(exchange: str, body: bytes, *, form_counts: bool) -> Message | Skipped:
    """Return the row of a message of the stage `deliver`, or of an event about an email's status.

    The organisation is that of the exchange: the `orgId` of an action is the one whose page it was made on,
    and an event has none. The double opt-in of a message belongs to the page's organisation; for another one,
    with which the action is shared, it counts only beside the opt-in that was given to that one.

    Args:
        exchange: on which Proca published it.
        body: as Proca wrote it.
        form_counts: whether the opt-in of the form makes a subscriber, without a double opt-in.
    """
    found = _EXCHANGE.fullmatch(exchange)
    if found is None:
        return Skipped("exchange")
    org_id = int(found[1])
    try:
        message = parse(body)
    except Undecodable:
        return Skipped("unreadable")
    if not isinstance(message, dict):
        return Skipped("unreadable")
    person = message["supporter"] if isinstance(message.get("supporter"), dict) else message
    contact, privacy = person.get("contact"), person.get("privacy")
    if not isinstance(contact, dict) or not isinstance(privacy, dict):
        return Skipped("no_person")
    if not privacy.keys() & {"optIn", "communication"}:
        return Skipped("other_organisation")  # Proca shows the events of all organisations to its own
    contact_ref = contact.get("contactRef") or contact.get("ref")  # proca:action:1 calls it ref
    given_here = privacy.get("optIn", privacy.get("communication")) is True  # the same: communication
    email_status = privacy.get("emailStatus")
    doubled = email_status == _DOUBLE_OPT_IN
    if isinstance(email_status, str) and email_status in _LOST:
        subscribed, as_of = False, privacy.get("emailStatusChanged") or message.get("timestamp")
    elif doubled and (given_here or message.get("orgId") == org_id):
        subscribed, as_of = True, privacy.get("emailStatusChanged") or message.get("timestamp")
    elif form_counts and given_here:
        subscribed, as_of = True, privacy.get("givenAt")
    else:
        return Skipped("no_consent_known")
    return _row(org_id, contact_ref, subscribed, as_of)


def _row(org_id: int, contact_ref: Any, subscribed: bool, as_of: Any) -> Message | Skipped:
    """The row, if the worker can read it."""
    try:
        key = status_key(org_id, contact_ref)
        row = {"orgId": org_id, "contactRef": contact_ref, "subscribed": subscribed, "asOf": as_of}
        value = orjson.dumps(row)
        decode_supporter_status(key, value)
    except (Undecodable, ValueError, TypeError):
        return Skipped("unreadable")
    return Message(key, value)
