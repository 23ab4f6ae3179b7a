"""The end of a worker in time: whatever one of its parts still waits for, the process ends at a deadline."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)

#: Seconds beyond the drain grace after which a worker that was told to end is cut off: Kafka's clients may
#: wait longer for a broker that is away. The rest of the promised five seconds is for the process itself.
BEYOND_GRACE = 4.0
#: Seconds in which the last lines have to be written: whoever reads the log may have stopped reading.
_WRITE_WITHIN = 0.5


class Ending:
    """When a worker has to have ended, and how many records it leaves to its successor.

    A record that was taken and has no email in a committed transaction is left to the next owner of its
    partition, which reads it again. So a worker that is cut off loses nothing.
    """

    def __init__(self, grace: float) -> None:
        """Let a worker that ends have `grace` seconds for lookups, and :data:`BEYOND_GRACE` for all else."""
        self._seconds = grace + BEYOND_GRACE
        # Its put is reentrant: a signal's callback runs between any two instructions of the main thread.
        self._begun: SimpleQueue[tuple[int, Callable[[], None]]] = SimpleQueue()
        self._exit_code: int | None = None
        self._left_before = 0
        self._left_is_said = False
        #: Gives the records that this worker took and its closed lanes have left to a successor so far.
        self.handed_over: Callable[[], int] = lambda: 0
        #: Gives the records that its lanes still hold.
        self.in_flight: Callable[[], int] = lambda: 0

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None: it is not ending."""
        return self._exit_code

    def watch(self) -> None:
        """Start the thread that ends the process at the deadline, should it still run then."""
        threading.Thread(target=self._wait, name="ending", daemon=True).start()

    def begin(self, exit_code: int, last_words: Callable[[], None] = lambda: None) -> None:
        """Let the time begin in which the worker has to end; only the first call counts. Never waits.

        Args:
            exit_code: of the process.
            last_words: called in a thread of its own before the process is cut off.
        """
        if self._exit_code is None:
            self._exit_code = exit_code
            self._left_before = self.handed_over()
            self._begun.put((exit_code, last_words))

    def log_what_is_left(self) -> None:
        """Log how many of the records that this worker took are left to its successor, once."""
        if self._left_is_said:
            return
        self._left_is_said = True
        left = self.handed_over() - self._left_before + self.in_flight()
        log.info(
            "of the records that this worker took, %d are left to the next owner of their partition",
            left,
            extra={"event": "left_to_successor"},
        )

    def _wait(self) -> None:
        exit_code, last_words = self._begun.get()
        time.sleep(self._seconds)
        speaking = threading.Thread(target=self._speak, args=(last_words,), name="last-words", daemon=True)
        speaking.start()
        speaking.join(_WRITE_WITHIN)
        os._exit(exit_code)

    def _speak(self, last_words: Callable[[], None]) -> None:
        log.warning(
            "the worker has not ended by itself within %g s, and is cut off",
            self._seconds,
            extra={"event": "cut_off"},
        )
        self.log_what_is_left()
        last_words()
