"""What the worker would make of a line, found out with the worker's own code before the line is sent.

A line of which the worker would make a dead letter is refused. The reason names the field by its JSON path
and what is allowed there; it never quotes the line, which may hold an address.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from streams.actions.dead_letter import read_dead_letter_headers
from streams.actions.outcomes import DeadLettered
from streams.actions.processor import ActionProcessor
from streams.commands.keyed_lines import Message, Unsendable, action_message, status_message
from streams.delivery.results import Result
from streams.delivery.timestamps import latest_true
from streams.messages.decode import ErrorClass, Undecodable
from streams.messages.strict_json import MAX_DEPTH, MAX_DIGITS
from streams.statuses.row import row_of

if TYPE_CHECKING:
    from streams.lookup.lookups import Lookups

#: What is allowed at each path that the decoders name.
ALLOWED = {
    "$.stage": 'a text, such as "supporter_confirm"',
    "$.actionId": "a whole number",
    "$.orgId": "a whole number",
    "$.contact": "an object with contactRef and email",
    "$.contact.contactRef": "a text that is not empty",
    "$.contact.ref": "a text that is not empty",
    "$.contact.email": "a text that is not empty",
    "$.contactRef": "a text that is not empty",
    "$.subscribed": "true or false",
    "$.asOf": "a date and time with its time zone, such as 2026-11-24T10:00:00Z, not more than a day ahead",
}
_WRONG = {
    ErrorClass.NOT_UTF8: "the line is not UTF-8",
    ErrorClass.NOT_JSON: "the line is not JSON",
    ErrorClass.TOO_DEEP: f"objects and arrays are more than {MAX_DEPTH} levels deep",
    ErrorClass.NUMBER_TOO_LONG: f"a whole number has more than {MAX_DIGITS:,} digits",
    ErrorClass.NOT_AN_OBJECT: "the line is JSON, but not an object",
    ErrorClass.FIELD_MISSING: "{path} is missing",
    ErrorClass.FIELD_TYPE: "{path} has another type",
    ErrorClass.FIELD_EMPTY: "{path} is empty",
    ErrorClass.EMAIL_ENCRYPTED: "{path} is null, since personalInfo is encrypted: no letter can be sent",
    ErrorClass.FIELD_VALUE: "{path} has a value that is not allowed",
    ErrorClass.DUPLICATE_KEY: "{path} is there more than once",
    ErrorClass.IN_FUTURE: "{path} is in the future",
    ErrorClass.INTERNAL_ERROR: "the worker's own code fails on this line",
}


class LineRecord(NamedTuple):
    """A line as the worker would read it."""

    value: bytes
    offset: int = 0
    key: bytes | None = None
    headers: tuple[()] = ()
    timestamp: int = -1


def would_be_dead_letter(error_class: ErrorClass, json_path: str) -> str:
    """Return why a line would become a dead letter, in one sentence that quotes nothing of it."""
    wrong = _WRONG.get(error_class, "the worker refuses it at {path}").format(path=json_path)
    allowed = f"; allowed is {ALLOWED[json_path]}" if json_path in ALLOWED else ""
    return f"{wrong}{allowed} (a dead letter: {error_class})"


def checked_action(actions_topic: str, repeats_at: str | None = None) -> Callable[[bytes], Message]:
    """Return what makes the record of a line of actions; it raises Unsendable for a dead letter.

    The line is processed as by a worker to whom every status is known, so that no lookup is asked.
    """
    nobody_is_asked: Any = None
    lookups: Lookups = nobody_is_asked
    process = ActionProcessor(
        actions_topic,
        0,
        emails_topic="",
        dead_letters_topic="",
        subscribed=lambda *_: False,
        lookups=lookups,
        now=time.time,
        lookups_most=0,
        lookups_most_per_organisation=0,
        repeats_at=repeats_at,
    ).process

    def message(line: bytes) -> Message:
        try:
            result = process(LineRecord(line))
        except Exception:  # a bug of ours: the worker makes a dead letter of it, too
            raise Unsendable(would_be_dead_letter(ErrorClass.INTERNAL_ERROR, "$")) from None
        assert isinstance(result, Result), "nothing is looked up, nothing stops"
        if result.outgoing is None:  # it asks for no confirmation
            return action_message(line)
        if isinstance(result.outcome, DeadLettered):
            why = read_dead_letter_headers(result.outgoing.headers)
            raise Unsendable(would_be_dead_letter(ErrorClass(why.error_class), why.json_path))
        return Message(result.outgoing.key, line)

    return message


def checked_status(now: Callable[[], float] = time.time) -> Callable[[bytes], Message]:
    """Return what makes the record of a line of statuses; it raises Unsendable for a dead letter.

    Args:
        now: wall clock, seconds since the epoch.
    """
    return partial(_checked_status, now)


def _checked_status(now: Callable[[], float], line: bytes) -> Message:
    try:
        message = status_message(line)
    except Unsendable:
        if b'"forget"' in line:
            raise
        message = Message(None, line)
    try:
        # Any key will do to find out what is wrong with a line from which none can be made.
        row_of(message.key or b"?", message.value, latest_true(0, now()))
    except Undecodable as error:
        if error.error_class is not ErrorClass.KEY_MISMATCH:
            raise Unsendable(would_be_dead_letter(error.error_class, error.json_path)) from None
    return message if message.key else status_message(line)
