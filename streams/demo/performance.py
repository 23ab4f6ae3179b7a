"""The demo itself, from a worker that starts to the audit line."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from streams.demo.audit import Audit, objections
from streams.demo.errors import DemoFailed
from streams.demo.feeder import Feeder
from streams.demo.lookup_service import Behaviour, LookupService
from streams.demo.phases import Phase
from streams.demo.reader import Reader
from streams.demo.view import View
from streams.demo.worker_process import Worker
from streams.embedded import EmbeddedKafka
from streams.feed import FeedError, feed_statuses
from streams.settings import Settings

_DEFAULTS = Settings()
_LEARNED_WITHIN = 20.0  # seconds
_SETTLED_WITHIN = 20.0  # seconds; an action takes a lookup's deadline and a little
_READ_WITHIN = 15.0  # seconds
_POLL = 0.05
_CHECK = 1.0
_LEARNED = 'confirmation_statuses_total{result="applied"}'


class Performance:
    """One run on a stage that is set."""

    def __init__(
        self,
        kafka: EmbeddedKafka,
        lookup: LookupService,
        worker: Worker,
        view: View,
        *,
        phases: Sequence[Phase],
        actions: Iterator[bytes],
        statuses: list[bytes],
        rate: float,
    ) -> None:
        """Take what is on the stage, and the script: `actions` at `rate` per second through the `phases`."""
        self._kafka = kafka
        self._lookup = lookup
        self._worker = worker
        self._view = view
        self._phases = phases
        self._statuses = statuses
        self._audit = Audit(len(phases))
        servers = kafka.bootstrap_servers
        self._servers = servers
        self._actions = actions
        self._rate = rate
        self._objections: list[str] = []

    async def run(self) -> int:
        """Perform, stop the worker, and judge. Returns the exit code.

        Raises:
            DemoFailed: something did not work.
            KafkaError: Kafka did not.
        """
        await self._until_judged()
        return 0
