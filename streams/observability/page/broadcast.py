"""One text to many listeners, none of whom can slow down the others or the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

#: Listeners at a time, and texts that one may be behind before it is cut off.
MOST, BEHIND = 20, 10
#: Seconds of silence after which a listener gets a sign of life.
HEARTBEAT = 5.0
_SIGN_OF_LIFE = b": still here\n\n"


class Full(Exception):
    """There are as many listeners as there may be, or it has ended."""


def event(name: str, body: bytes) -> bytes:
    """Return a server-sent event (HTML standard, section 9.2); `body` is one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), body)


class Listener:
    """What one client has not got yet. Iterate over it once."""

    def __init__(self, heartbeat: float) -> None:
        """Send a sign of life after so many seconds of silence."""
        self._texts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._heartbeat = heartbeat
        self.cut = asyncio.Event()  # it is too slow, or the worker ends

    @property
    def behind(self) -> int:
        """Texts that wait for it."""
        return self._texts.qsize()

    def tell(self, text: bytes) -> None:
        """Give it a text. Never waits."""
        self._texts.put_nowait(text)

    def end(self) -> None:
        """Let it go."""
        self.cut.set()
        self._texts.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self.cut.is_set():
            try:
                text = await asyncio.wait_for(self._texts.get(), self._heartbeat)
            except TimeoutError:
                text = _SIGN_OF_LIFE
            if text is None:
                return
            yield text


class Broadcast:
    """The listeners of this worker's page."""

    def __init__(self, most: int = MOST, behind: int = BEHIND, heartbeat: float = HEARTBEAT) -> None:
        """Have at most so many listeners, each at most so many texts behind."""
        self._most = most
        self._behind = behind
        self._heartbeat = heartbeat
        self._listeners: set[Listener] = set()
        self._ended = False

    def __len__(self) -> int:
        return len(self._listeners)

    def join(self) -> Listener:
        """Return a new listener.

        Raises:
            Full: there are enough, or it has ended.
        """
        if self._ended or len(self._listeners) >= self._most:
            raise Full
        listener = Listener(self._heartbeat)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener. Harmless when it is forgotten."""
        self._listeners.discard(listener)

    def tell(self, text: bytes) -> None:
        """Give everybody a text; whoever is too far behind is cut off. Never waits."""
        for listener in tuple(self._listeners):
            if listener.behind >= self._behind:
                listener.end()
                self.leave(listener)
            else:
                listener.tell(text)

    def end(self) -> None:
        """Let everybody go, and nobody join."""
        self._ended = True
        for listener in tuple(self._listeners):
            listener.end()
        self._listeners.clear()
