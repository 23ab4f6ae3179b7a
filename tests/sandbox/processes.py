"""The end of processes that are not our children."""

import os
import select
import time


def wait_until_gone(*pids: int, seconds: float = 20.0) -> None:
    """Wait on the kernel's own event for their end."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended, _, _ = select.select([watched], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(watched)
        assert ended, f"process {pid} still runs after {seconds} s"
