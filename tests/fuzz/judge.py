"""What a record must have come to, judged from its bytes and from ``schemas/``, without our decoder."""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from streams.actions.dead_letter import read_dead_letter_headers, source_headers
from streams.actions.outcomes import DeadLettered, Emailed, Ignored, Rekeyed
from streams.actions.rekeying import REKEYED_FROM, REKEYED_HEADERS
from streams.delivery.results import Processed
from streams.messages.strict_json import MAX_DEPTH
from streams.sandbox.people import numbered
from tests.test_schemas import validator

#: As documented for mailers: an email's id is a UUIDv5 of topic/partition/offset in this namespace.
_NAMESPACE = uuid.UUID("3f0c6a52-6c8b-5d7e-9a54-0d6f2a3f7b11")
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Error classes of records that are as they should be, and have no room or no right in the output topic.
_NOT_TAKEN = {"too_large", "refused"}
_ANY_ACTION = numbered(0).action(0)
_EMAIL, _IGNORED, _DEAD = "email", "ignored", "dead letter"


class _TooMuch(ValueError):
    """Well-formed JSON beyond a limit of ``schemas/action.json``."""


def due(value: bytes | None) -> set[str]:
    """Return what an action may come to: mostly one thing."""
    if value is None:
        return {_IGNORED}
    try:
        action = _parsed(value)
    except (_TooMuch, RecursionError):
        return {_DEAD, _IGNORED}  # of another stage, no more than the stage is read
    except ValueError:
        return {_DEAD}
    if not isinstance(action, dict):
        return {_DEAD}
    schema = action.get("schema")
    if isinstance(schema, str) and schema.startswith("proca:event:") and "stage" not in action:
        return {_IGNORED}
    privacy = action.get("privacy")
    no_consent = isinstance(privacy, dict) and privacy.get("withConsent") is False
    if no_consent and action.get("stage") == "supporter_confirm":
        return {_IGNORED}
    if not validator("action").is_valid(action):
        return {_DEAD}
    if action["stage"] != "supporter_confirm":
        return {_DEAD} if _SURROGATE.search(action["stage"]) else {_IGNORED}
    contact = action["contact"]
    ref = contact.get("contactRef") or contact["ref"]
    return {_DEAD} if _SURROGATE.search(ref + contact["email"]) else {_EMAIL}


def faults(
    entry: Processed, written: Any | None, place: tuple[str, int], limits: dict[str, int]
) -> Iterator[str]:
    """Say what is wrong with what became of an action.

    Args:
        entry: the record that was read, and what the lane says of it.
        written: the record that the log has for it.
        place: topic and partition that it was read from.
        limits: bytes, by topic.
    """
    (record, (outgoing, outcome)), origin = entry, (place[1], entry.record.offset)
    if place[0] == "rekeyed":
        origin = _origin(record) or origin
    may = due(record.value)
    match outcome:
        case Ignored():
            if _IGNORED not in may:
                yield f"is ignored, and due is {may}"
        case Rekeyed():
            if _EMAIL not in may or written.value != record.value or written.key is None:
                yield f"is re-keyed, and due is {may}"
            if _origin(written) != origin:
                yield "is re-keyed with another origin"
        case Emailed():
            if _EMAIL not in may:
                yield f"is emailed, and due is {may}"
            yield from _email_faults(record, written, origin)
        case DeadLettered(error_class):
            forged = place[0] == "rekeyed" and _origin(record) is None
            if _DEAD not in may and error_class not in _NOT_TAKEN and not forged:
                yield f"is a dead letter ({error_class}), and due is {may}"
            if (
                error_class == "too_large"
                and _size(record) < min(limits["emails"], limits["rekeyed"]) - 4_096
            ):
                yield "is called too large, and is not"
            own = list(record.headers)
            if place[0] == "rekeyed":
                own = [each for each in own if each[0] not in REKEYED_HEADERS]
            yield from dead_letter_faults(record, own, written, ("actions", *origin), error_class)
    if (outgoing is None) != (written is None):
        yield "is not written, or written for nothing"


def _email_faults(record: Any, written: Any, origin: tuple[int, int]) -> Iterator[str]:
    topic = f"actions/{origin[0]}"
    email = json.loads(written.value, parse_constant=_refuse)
    contact, email["action"] = email["action"]["contact"], _ANY_ACTION  # it was judged by its own schema
    if not validator("confirmation-email").is_valid(email):
        yield "its email is not as the schema has it"
    if not written.value.endswith(b',"action":%b}' % record.value):
        yield "its email has another action"
    key = f"{email['orgId']}:{contact.get('contactRef') or contact['ref']}".encode()
    if written.key != key:
        yield "its email has another key"
    digest = hashlib.sha1(_NAMESPACE.bytes + f"{topic}/{origin[1]}".encode(), usedforsecurity=False).digest()
    if email["id"] != str(uuid.UUID(bytes=digest[:16], version=5)):
        yield "its email has another id"
    try:
        texts = {name: text.decode() for name, text in written.headers}
    except (UnicodeDecodeError, AttributeError):
        yield "a header of its email is no UTF-8 text"
        return
    if len(texts) != len(written.headers):
        yield "a header of its email is there twice"
    if not validator("confirmation-email-headers").is_valid(texts):
        yield "the headers of its email are not as the schema has them"
    if (texts.get("ce_id"), texts.get("ce_source")) != (email["id"], f"/{topic}"):
        yield "the headers of its email say another place"


def dead_letter_faults(
    record: Any, own: list[Any], letter: Any, origin: tuple[str, int, int], error_class: str
) -> Iterator[str]:
    """Say what is wrong with a record's dead letter; `origin` is its topic, partition and offset."""
    if error_class == "internal_error":
        yield "our own code failed on it"
    headers = list(letter.headers)
    theirs = source_headers(headers)
    texts = {name: text.decode() for name, text in headers[len(theirs) :]}
    if not validator("dead-letter-headers").is_valid(texts):
        yield "the headers of its dead letter are not as the schema has them"
    said = read_dead_letter_headers(headers)
    if (said.topic, said.partition, said.offset, said.error_class) != (*origin, error_class):
        yield "its dead letter says another place or class"
    parts = {
        "shortened-from": ((letter.value or b""), (record.value or b"")),
        "key-left-out-bytes": (letter.key, record.key),
        "headers-left-out-bytes": (theirs, own),
    }
    for mark, (kept, before) in parts.items():
        if (mark in texts) != (kept != before):
            yield f"its dead letter and the header {mark} do not agree"
    if said.shortened != (not parts.keys().isdisjoint(texts)):
        yield "its dead letter says wrongly whether it is whole"


def _size(record: Any) -> int:
    headers = sum(len(name) + len(text or b"") + 10 for name, text in record.headers)
    return headers + len(record.key or b"") + len(record.value or b"")


def _origin(record: Any) -> tuple[int, int] | None:
    found = re.fullmatch(rb"(0|[1-9]\d*)/(0|[1-9]\d*)", dict(record.headers).get(REKEYED_FROM) or b"")
    if found is None or int(found[1]) >= 1 << 31 or int(found[2]) >= 1 << 63:
        return None
    return int(found[1]), int(found[2])


def _parsed(value: bytes) -> Any:
    text = value.decode()
    if _depth(text) > MAX_DEPTH:
        json.loads(text, parse_constant=_refuse, parse_int=_integer)  # is it JSON at all?
        raise _TooMuch
    return json.loads(text, parse_constant=_refuse, parse_int=_integer, parse_float=lambda _: 0.5)


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > 4_300:
        raise _TooMuch
    return int(digits)


def _refuse(_: str) -> None:
    raise ValueError


def _depth(text: str) -> int:
    brackets = re.sub(r'"(?:[^"\\]|\\.)*"|[^][{}"]+', "", text, flags=re.DOTALL)
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)
