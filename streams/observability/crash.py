"""How a worker ends: in time, and with its reason as the log's last line if nobody told it to."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, cast

import faust

from streams.observability.ending import Ending
from streams.observability.logs import describe_error

log = logging.getLogger(__name__)

#: Modules that every error of a worker passes on its way out.
_WAY_OUT = ("mode.worker", __name__)


class ReportingWorker(faust.Worker):
    """Faust's worker, which ends in time, and names the first error as the reason of its end."""

    def __init__(self, ending: Ending, *args: Any, **kwargs: Any) -> None:
        """Take what Faust's worker takes, and what ends the process at the deadline."""
        self._ending = ending
        super().__init__(*args, **kwargs)

    def install_signal_handlers(self) -> None:
        """Let SIGTERM and SIGINT end the worker in time, also while its event loop stands still."""
        self._ending.watch()
        super().install_signal_handlers()
        for number, stop in ((signal.SIGINT, self._on_sigint), (signal.SIGTERM, self._on_sigterm)):
            self.loop.remove_signal_handler(number)
            signal.signal(number, partial(self._told_to_end, stop))

    def _told_to_end(self, stop: Callable[[], None], *_: object) -> None:
        self._ending.begin(0)
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(stop)

    def execute_from_commandline(self) -> NoReturn:
        """Run until a signal or an error ends it.

        Raises:
            SystemExit: always; its code is 0 after a signal, and not 0 after an error.
        """
        try:
            super().execute_from_commandline()
        except (SystemExit, asyncio.CancelledError) as end:
            if (reason := self._reason(end)) is None:
                raise
            if self._ending.exit_code == 0:  # told to end; what is not committed is the successor's
                log.warning("while ending: %s", why(reason), extra={"event": "ending_failed"})
                sys.exit(0)
            if isinstance(reason, MemoryError):
                sys.stderr.write("\n")  # Faust's "Out of memory!" has no end of line
            gc.collect()  # tasks and connections that are found unfinished complain now, and not afterwards
            _report(reason)
            sys.exit(_exit_code(reason) or getattr(end, "code", 0) or 1)

    def _reason(self, end: BaseException) -> BaseException | None:
        starting: Any = self._starting_fut
        failed = starting.exception() if starting and starting.done() and not starting.cancelled() else None
        return cast(BaseException | None, self.crash_reason or failed or end.__context__)

    def _crash(self, reason: BaseException) -> None:
        # Of several errors the first is the reason; the others often follow from it.
        super()._crash(self.crash_reason or reason)
        self._ending.begin(_exit_code(reason) or 1, partial(_report, reason))


def _exit_code(reason: BaseException) -> int:
    return int(getattr(reason, "exit_code", 0))


def _report(reason: BaseException) -> None:
    log.critical("the worker ends because of an error: %s", why(reason), extra={"event": "crashed"})
    logging.disable()  # so that it is the last line


def why(exc: BaseException) -> str:
    """Return in one line what may be said of an error.

    This is its class, its text if that cannot quote anybody, and where in the code it was raised. The errors
    of this package are written for a person, and need no place.
    """
    text = " ".join(describe_error(exc).split())
    if type(exc).__module__.startswith("streams."):
        return text
    places = _places(exc.__traceback__)
    ours = [place for place in places if place.startswith("streams.")]
    if places:
        text = f"{text}, raised in {places[-1]}"
    if ours and ours[-1] != places[-1]:
        text = f"{text}, called by {ours[-1]}"
    return text


def _places(traceback: TracebackType | None) -> list[str]:
    found = []
    while traceback is not None:
        frame = traceback.tb_frame
        if (module := frame.f_globals.get("__name__", "?")) not in _WAY_OUT:
            found.append(f"{module}, line {traceback.tb_lineno} ({frame.f_code.co_name})")
        traceback = traceback.tb_next
    return found
