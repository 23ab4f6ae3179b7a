"""Where a range begins or ends, as a person writes it: a time, a time ago, or an offset. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

ALLOWED = (
    'allowed is a time (RFC 3339, as in "2026-11-24T10:00:00Z"), a time ago ("-2h", "-30m", "-7d"), or, '
    "with one --partition, an offset"
)
_AGO = re.compile(r"-(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_OFFSET = re.compile(r"\d{1,18}", re.ASCII)


class Moment(NamedTuple):
    """One of the first two is set."""

    milliseconds: int | None = None  # since the epoch, as Kafka stamps records
    offset: int | None = None
    ago: int | None = None  # seconds, where it was given as a time ago

    def after(self, seconds: float) -> Moment:
        """Return what the same text means so many seconds later: a time ago moves on, others stay."""
        if self.ago is None or self.milliseconds is None:
            return self
        return self._replace(milliseconds=self.milliseconds + int(seconds * 1000))


def moment(text: str, now: float) -> Moment:
    """Read a moment.

    Args:
        text: as a person wrote it.
        now: seconds since the epoch, for a time ago.

    Raises:
        ValueError: it is none; the text says what is allowed.
    """
    if ago := _AGO.fullmatch(text):
        seconds = int(ago[1]) * _UNITS[ago[2]]
        return Moment(milliseconds=max(0, int((now - seconds) * 1000)), ago=seconds)
    if _OFFSET.fullmatch(text):
        return Moment(offset=int(text))
    if _DATE.fullmatch(text):
        raise ValueError(f"a date needs a time of day and its offset from UTC, as in {text}T00:00:00Z")
    try:
        when = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError(ALLOWED) from None
    if when.tzinfo is None:
        named = f"{when.isoformat()}Z"  # not what was typed: 2026-W48 with a Z behind it is no time
        raise ValueError(f"a time needs its offset from UTC, as in {named}; {ALLOWED}")
    return Moment(milliseconds=max(0, int(when.timestamp() * 1000)))
