"""The server that takes the demo's letters, and what stands in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller

from streams.sandbox.ports import HOST, HeldPort


class Letterbox:
    """An SMTP server on this machine that keeps what it takes."""

    def __init__(self) -> None:
        """Take a port; nothing listens yet."""
        self._held = HeldPort()
        self.port = self._held.number
        self.letters: list[Message] = []
        self._controller = Controller(self, hostname=HOST, port=self.port)

    def start(self) -> None:
        """Listen."""
        self._held.make_way()
        self._controller.start()

    def stop(self) -> None:
        """Listen no more."""
        self._controller.stop()
        self._held.release()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # aiosmtpd's
        """Keep a letter."""
        self.letters.append(message_from_bytes(envelope.content))
        return "250 OK"


def faults(letters: Iterable[Message], base: str, refs: dict[int, str], subscribers: set[int]) -> list[str]:
    """Say what is wrong with the letters; empty: each action has one, with Proca's links and its buttons.

    Args:
        letters: that were sent.
        base: of Proca's links.
        refs: the contactRef of each actionId.
        subscribers: actionIds of those who are subscribers.
    """
    found: list[str] = []
    counted: Counter[int] = Counter()
    for letter in letters:
        action_id = int(str(letter["X-MJ-CustomID"]).removeprefix("action:"))
        counted[action_id] += 1
        plain = letter.get_payload()[0].get_payload(decode=True).decode()  # type: ignore[index, union-attr]  # two parts
        accept = f"{base}/link/s/{action_id}/accept/{refs.get(action_id)}"
        reject = f"{base}/link/s/{action_id}/reject/{refs.get(action_id)}"
        expected = [accept, reject] if action_id in subscribers else [f"{accept}?doi=1", accept, reject]
        if re.findall(r"^https?://\S+", plain, re.MULTILINE) != expected:
            found.append(f"the letter of action {action_id} has other links")
    found += [f"action {each} has {counted[each]} letters" for each in refs if counted[each] != 1]
    return found + [f"there is a letter for action {each}" for each in counted.keys() - refs.keys()]
