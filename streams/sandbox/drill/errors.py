"""What can go wrong with the drill itself."""

from __future__ import annotations


class DrillFailed(Exception):
    """The drill cannot go on. The text says what happened, and where it helps shows a log's last lines."""
