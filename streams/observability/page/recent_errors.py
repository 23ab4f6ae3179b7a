"""The last warnings and errors of the log for the page: bounded, and redacted as the log is."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streams.observability.logs import message

#: Kinds of lines that are kept, and characters of each message.
KINDS, LONGEST = 30, 300


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Lines of one kind: of one event, made from one text."""

    level: str
    event: str
    message: str  # of the last one
    first: float  # seconds since the epoch
    last: float
    count: int


class RecentErrors(logging.Handler):
    """A log handler that keeps the latest lines, one entry for each kind.

    It takes a line's message and never its exception, whose text may hold an address or a name.
    """

    def __init__(self, now: Callable[[], float], kinds: int = KINDS) -> None:
        """Keep so many `kinds`; `now` gives seconds since the epoch."""
        super().__init__(logging.WARNING)
        self._now = now
        self._kinds = kinds
        self._entries: dict[tuple[str, str], LogEntry] = {}  # the one that happened last is last

    def added_to(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Return a ``dictConfig`` of :func:`streams.observability.logs.configuration` that also logs here."""
        handlers = {**configuration["handlers"], "page": {"()": lambda: self, "filters": ["levels"]}}
        root = {**configuration["root"], "handlers": [*configuration["root"]["handlers"], "page"]}
        return {**configuration, "handlers": handlers, "root": root}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; called with the handler's lock held, from any thread."""
        level, text, now = record.levelname.lower(), message(record)[:LONGEST], self._now()
        event = str(getattr(record, "event", record.name))[:80]
        key = event, str(record.msg)[:80]
        before = self._entries.pop(key, None)
        if before is not None:
            self._entries[key] = LogEntry(level, event, text, before.first, now, before.count + 1)
            return
        if len(self._entries) >= self._kinds:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = LogEntry(level, event, text, now, now, 1)

    def latest(self, most: int) -> list[LogEntry]:
        """Return the last `most` kinds, the latest first."""
        self.acquire()
        try:
            return list(self._entries.values())[: -most - 1 : -1]
        finally:
            self.release()
