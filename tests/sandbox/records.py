"""Records of the three topics as a worker leaves them, without a Kafka."""

import json
from types import SimpleNamespace
from typing import Any

from streams.actions.dead_letter import dead_letter_headers
from streams.kafka.topics import TopicNames
from streams.messages.email import EmailWriter
from streams.messages.strict_json import ErrorClass
from streams.sandbox.mailer import Arrival

NAMES = TopicNames("actions", "status", "emails", "dlq", "changelog", "rekeyed")


def action(offset: int, at: float, **document: Any) -> Arrival:
    """An action in partition 0, with this timestamp in seconds since the epoch."""
    return _arrival(NAMES.actions, offset, at, json.dumps(document).encode())


def email(of: int, at: float, variant: str = "two_button", reason: str = "no_lookup", **more: Any) -> Arrival:
    """The email of the action at the offset `of`, seen at this time in seconds since the epoch."""
    document = {"id": EmailWriter(NAMES.actions, 0).id_of(of), "variant": variant, "reason": reason, **more}
    return _arrival(NAMES.emails, 0, at, json.dumps(document).encode())


def dead_letter(of: int, at: float, error_class: ErrorClass = ErrorClass.NOT_JSON) -> Arrival:
    """The dead letter of the action at the offset `of`."""
    headers = dead_letter_headers(NAMES.actions, 0, of, [], error_class, "$")
    return _arrival(NAMES.dead_letters, 0, at, b"", headers)


def _arrival(
    topic: str, offset: int, at: float, value: bytes, headers: list[tuple[str, bytes]] | None = None
) -> Arrival:
    record = SimpleNamespace(
        topic=topic, partition=0, offset=offset, timestamp=at * 1000, value=value, headers=headers or []
    )
    return Arrival(record, at)
