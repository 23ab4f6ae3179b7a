"""Whoever else a lane and its processor talk to."""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any

from streams.delivery.results import Processed
from streams.lookup.client import Question
from streams.messages.decode import LookupOutcome
from streams.messages.lookup_reply import decode_lookup_reply
from streams.observability.metrics import Metrics
from tests.fuzz.mutations import strange_reply

#: Stands in the addresses of all good records and examples: no log line may have it.
_PRIVATE = "@example"


class Watch:
    """A lane's observer: keeps the outcomes, and lets the metrics count."""

    def __init__(self, metrics: Metrics) -> None:
        self.entries: list[Processed] = []
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metrics, name)

    def committed(self, partition: int, entries: Sequence[Processed]) -> None:
        self.entries += entries
        self._metrics.committed(partition, entries)


class Lookups:
    """Answers as a lookup service might, at once or a little later, or has nobody to ask."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def ask(self, question: Question) -> LookupOutcome | asyncio.Future[LookupOutcome] | None:
        assert question.email.strip()
        if self._dice.random() < 0.3:
            return None
        outcome = decode_lookup_reply(strange_reply(self._dice))
        if self._dice.random() < 0.5:
            return outcome
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[LookupOutcome] = loop.create_future()
        loop.call_later(self._dice.choice([0, 0.002]), answer.set_result, outcome)
        return answer

    def is_fast(self, org_id: int) -> bool:
        return True


class Spans:
    """What a collector would be sent."""

    def add(self, traceparent: str, started: int, ended: int, attributes: dict[str, str | int]) -> None:
        assert started <= ended
        assert traceparent.isascii()


class Privacy(logging.Handler):
    """Keeps log lines that quote a record."""

    def __init__(self) -> None:
        super().__init__()
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if _PRIVATE in line:
            self.leaks.append(line[:80])
