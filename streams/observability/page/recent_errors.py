"""The last warnings and errors of the log, bounded and redacted, for the page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streams.observability.logs import message

#: Different kinds that are kept, and characters of each.
KINDS, LONGEST = 30, 300


@dataclass(slots=True)
class Seen:
    """Lines of one kind."""

    level: str
    event: str
    message: str  # of the last one
    first: float  # seconds since the epoch
    last: float
    count: int = 1


class RecentErrors(logging.Handler):
    """A log handler that keeps what happened last, one entry for each kind of line.

    It takes a line's message and never its exception, whose text could quote anybody.
    """

    def __init__(self, now: Callable[[], float], kinds: int = KINDS) -> None:
        """Keep so many `kinds`; `now` gives seconds since the epoch."""
        super().__init__(logging.WARNING)
        self._now = now
        self._kinds = kinds
        self._seen: dict[tuple[str, str], Seen] = {}  # the one that happened last is last

    def added_to(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Return a ``dictConfig`` of :func:`streams.observability.logs.configuration` that also logs here."""
        handlers = {**configuration["handlers"], "page": {"()": lambda: self, "filters": ["levels"]}}
        root = {**configuration["root"], "handlers": [*configuration["root"]["handlers"], "page"]}
        return {**configuration, "handlers": handlers, "root": root}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; called with the handler's lock held, from any thread."""
        text = message(record)[:LONGEST]
        event = str(getattr(record, "event", record.name))[:80]
        key = event, str(record.msg)[:80]
        now = self._now()
        seen = self._seen.pop(key, None)
        if seen is None:
            seen = Seen(record.levelname.lower(), event, text, now, now)
            if len(self._seen) >= self._kinds:
                del self._seen[next(iter(self._seen))]
        else:
            seen.level, seen.message, seen.last, seen.count = (
                record.levelname.lower(),
                text,
                now,
                seen.count + 1,
            )
        self._seen[key] = seen

    def latest(self, most: int) -> list[Seen]:
        """Return the last `most` kinds, the latest first."""
        self.acquire()
        try:
            return list(self._seen.values())[: -most - 1 : -1]
        finally:
            self.release()
