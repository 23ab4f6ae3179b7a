"""Which letters were sent, so that a record that is read again sends none.

What it cannot do: between the moment when the server takes a letter and the moment when this is written, a
crash sends that one letter twice; SMTP has no transactions. A second letter has the first one's Message-ID,
by which many mailboxes show one. And it is a file of this mailer: put it on a volume that survives it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

_DAY = 86_400.0  # seconds


class Sent:
    """The ids of letters that were sent, in SQLite."""

    def __init__(self, path: str, days: int, clock: Callable[[], float]) -> None:
        """Open the file; ids older than so many days are forgotten. `clock` tells seconds since the epoch."""
        self._clock = clock
        self._ids = sqlite3.connect(path, isolation_level=None)
        self._ids.execute("PRAGMA journal_mode=WAL")
        self._ids.execute("PRAGMA synchronous=FULL")  # written means written, power cuts included
        self._ids.execute("CREATE TABLE IF NOT EXISTS sent (id TEXT PRIMARY KEY, at REAL) WITHOUT ROWID")
        self._ids.execute("DELETE FROM sent WHERE at < ?", (clock() - days * _DAY,))

    def __contains__(self, email_id: str) -> bool:
        return self._ids.execute("SELECT 1 FROM sent WHERE id = ?", (email_id,)).fetchone() is not None

    def add(self, email_id: str) -> None:
        """Remember that this letter was sent; when this returns, it is on the disk."""
        self._ids.execute("INSERT OR IGNORE INTO sent VALUES (?, ?)", (email_id, self._clock()))

    def close(self) -> None:
        """Close the file."""
        self._ids.close()
