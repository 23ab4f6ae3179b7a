"""What a worker has of the native pass: its library, its index, and the lanes that use it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, final

from aiokafka import TopicPartition

from streams.delivery.epochs import Epochs
from streams.delivery.fetched_lane import FetchedLane
from streams.messages.email import EmailWriter
from streams.native.email_pass import NativePartition, WithoutAsking
from streams.native.fetches import Gathering
from streams.native.library import NotBuilt, load
from streams.native.passes import CountPaths, NativePasses
from streams.native.status_index import PartitionStatuses, StatusIndex
from streams.settings.table import Settings

log = logging.getLogger(__name__)


@final
class NativeLanes:
    """Makes lanes with a native pass."""

    def __init__(self, library: Any, settings: Settings, now: Callable[[], float], count: CountPaths) -> None:
        """Take memory for the index of statuses.

        Args:
            library: the C library.
            settings: of the worker.
            now: seconds since the epoch; NaN while the clock is known to be wrong.
            count: is told which path actions took.
        """
        self._library, self._settings, self._now, self._count = library, settings, now, count
        self.index = StatusIndex(library, settings.native_index << 20)
        #: Gathers what is fetched of the actions.
        self.gather = Gathering(library)

    def kind(
        self,
        place: TopicPartition,
        *,
        emails_topic: str,
        room: Callable[[], int],
        understood: Callable[[int], None],
        statuses: Callable[[], PartitionStatuses | None],
        without_asking: WithoutAsking,
        epochs: Callable[[], Epochs],
    ) -> Callable[..., FetchedLane]:
        """Return what makes the lane of a partition of the actions.

        Args:
            place: the partition.
            emails_topic: where emails go.
            room: bytes that a batch of emails may have.
            understood: told how many actions were understood.
            statuses: gives those that are known of this partition.
            without_asking: decides where a status is not known, as the path in Python would.
            epochs: of this partition; asked when the lane has its first records.
        """

        def partition() -> NativePartition | None:
            if epochs().starts:
                return None
            writer = EmailWriter(*place)
            repeats_at = self._settings.confirm_repeats_at
            return NativePartition(self._library, writer, self.index, statuses, without_asking, repeats_at)

        passes = NativePasses(
            partition,
            place,
            emails_topic=emails_topic,
            room=room,
            understood=understood,
            now=self._now,
            count=self._count,
        )
        return partial(FetchedLane, passes=passes)


def native_lanes(
    settings: Settings,
    now: Callable[[], float],
    count: CountPaths,
    on_start: Callable[[Callable[[], Awaitable[None]]], object],
) -> NativeLanes | None:
    """Return what makes lanes with a native pass; None: it is off, or cannot be used.

    Args:
        settings: of the worker.
        now: seconds since the epoch; NaN while the clock is known to be wrong.
        count: is told which path actions took.
        on_start: is given what says, when the worker starts and has a log, why it cannot be used.
    """
    if settings.native_pass == "off":  # noqa: S105 - no password
        return None
    level = logging.INFO  # another setting excludes it, and somebody chose that
    if settings.duplicate_window:
        why_not = "STREAMS_DUPLICATE_WINDOW is set"
    elif settings.otlp_endpoint is not None:
        why_not = "OTEL_EXPORTER_OTLP_ENDPOINT is set"
    elif settings.store != "rocksdb":
        why_not = f"STREAMS_STORE is {settings.store}"
    else:
        try:
            return NativeLanes(load(), settings, now, count)
        except NotBuilt as exc:
            why_not, level = str(exc), logging.WARNING

    async def say_why_not() -> None:
        log.log(
            level,
            "All actions take the path in Python, although STREAMS_NATIVE_PASS is on: %s",
            why_not,
            extra={"event": "native_pass_not_used"},
        )

    on_start(say_why_not)
    return None
