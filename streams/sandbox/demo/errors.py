"""What can go wrong with the demo itself."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo cannot go on. The text is one clear sentence, and where it helps a log's last lines."""
