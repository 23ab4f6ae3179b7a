"""Ends a program by a signal that comes while it imports what it needs, which takes half a second.

In a container a program is process 1, and Linux drops a signal to that one which nobody handles.
"""

import os
import signal


def end_at_sigterm() -> None:
    """Let SIGTERM end this process with exit code 0, until the program handles it: nothing is in hand yet."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
