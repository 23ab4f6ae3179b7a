"""What an email says of the decision that was made, never of whom it is for. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from streams.commands.audit.matching import RESENT
from streams.commands.topic_reader import RecordId


class FoundEmail(NamedTuple):
    """An email, without its content. "" where it does not say, as somebody else's would not."""

    place: RecordId
    timestamp: int  # milliseconds since the epoch
    variant: str
    reason: str
    decided_at: str  # RFC 3339
    lookup_outcome: str | None  # None: no lookup was asked
    lookup_cause: str | None
    is_resent: bool  # by ``streams resend``


def email_of(record: Any) -> FoundEmail:
    """Describe a record of the emails topic."""
    said = _said(record.value)
    lookup = said.get("lookup")
    asked = lookup if isinstance(lookup, dict) else {}
    return FoundEmail(
        RecordId(record.partition, record.offset),
        record.timestamp,
        _text(said, "variant") or "",
        _text(said, "reason") or "",
        _text(said, "decidedAt") or "",
        _text(asked, "outcome"),
        _text(asked, "cause"),
        RESENT in dict(record.headers),
    )


def action_id_in(value: bytes | None) -> int | None:
    """Return the actionId that an email's value says; None: it says none."""
    found = _said(value).get("actionId")
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _said(value: bytes | None) -> Mapping[str, Any]:
    try:
        said = orjson.loads(value or b"")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _text(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) else None
