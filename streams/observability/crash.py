"""The last line in the log of a worker that ends by itself: why it ended, in one sentence."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from types import TracebackType
from typing import Any, NoReturn, cast

import faust

from streams.observability.logs import describe_error

log = logging.getLogger(__name__)

#: Modules that every error of a worker passes on its way out.
_WAY_OUT = ("mode.worker", __name__)


class ReportingWorker(faust.Worker):
    """Faust's worker, which names the first error as the reason of its end."""

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
            if isinstance(reason, MemoryError):
                sys.stderr.write("\n")  # Faust's "Out of memory!" has no end of line
            gc.collect()  # tasks and connections that are found unfinished complain now, and not afterwards
            log.critical("the worker ends because of an error: %s", why(reason), extra={"event": "crashed"})
            logging.disable()
            sys.exit(getattr(reason, "exit_code", 0) or getattr(end, "code", 0) or 1)

    def _reason(self, end: BaseException) -> BaseException | None:
        starting: Any = self._starting_fut
        failed = starting.exception() if starting and starting.done() and not starting.cancelled() else None
        return cast(BaseException | None, self.crash_reason or failed or end.__context__)

    def _crash(self, reason: BaseException) -> None:
        # Of several errors the first is the reason; the others often follow from it.
        super()._crash(self.crash_reason or reason)


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
