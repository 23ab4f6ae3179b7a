"""Ctrl-C, SIGTERM and SIGHUP: each ends a demo, a drill or a Kafka in good order, once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks us to end. Like KeyboardInterrupt it is no Exception, so that nothing swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell calls the end by this signal: 130 for Ctrl-C."""
        return 128 + self.number


class Interrupts:
    """The signals, from ``with`` to its end. Call it in the main thread."""

    def __init__(self) -> None:
        """Nothing is changed yet."""
        self._before: dict[int, Any] = {}
        self.received: int | None = None

    def __enter__(self) -> Interrupts:
        """From here on a signal raises ``Interrupted``, wherever the program is."""
        self._before = {number: signal.signal(number, self._raise) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        if self.received is not None:
            self.ignore()  # the process is about to end by it; another Ctrl-C shall not change its exit code
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """The end is under way, and bounded: a second Ctrl-C cannot break it."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def cancelling(self) -> Iterator[None]:
        """While it lasts, the first signal cancels the current task instead, and the rest are ignored.

        Raises:
            Interrupted: there was a signal, once what it lasted for has ended.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._cancel, task, number)
        try:
            yield
        except asyncio.CancelledError:
            if self.received is None:
                raise
            raise Interrupted(self.received) from None
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            self.ignore()

    def _cancel(self, task: asyncio.Task[Any], number: int) -> None:
        if self.received is None:
            self.received = number
            task.cancel()

    def _raise(self, number: int, _frame: FrameType | None) -> NoReturn:
        self.ignore()
        self.received = number
        raise Interrupted(number)
