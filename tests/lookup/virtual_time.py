"""An event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.DefaultSelector):
    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits, and nothing will ever happen"
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Keeps what its exception handler was told in ``accidents``."""

    def __init__(self) -> None:
        self.jump = _Jump()
        self.accidents: list[dict[str, Any]] = []
        super().__init__(self.jump)
        self.set_exception_handler(lambda _, context: self.accidents.append(context))

    def time(self) -> float:
        return self.jump.now


def nothing_left() -> None:
    """Fail when a callback failed, or another task than this one is left."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks are left"
    assert loop.accidents == []


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in no time; nothing may be left."""

    async def checked() -> T:
        result = await main
        nothing_left()
        return result

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(checked())
