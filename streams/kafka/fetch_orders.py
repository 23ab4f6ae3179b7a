"""How the app's thread takes what the consumer's thread has fetched, while both have other things to do.

The app orders the next records of some partitions, and waits. The consumer's thread fetches in any case; as
soon as it has something for the order, it hands that over. So the consumer's thread wakes when the pause
between two fetches is over and when the answer comes, and the app's thread when it gets its records. An order
wakes nobody, unless its records are there already.

Whoever takes the order out of its place answers it, and nobody else: the consumer's thread with records, or
the app's with nothing, when the time is over or the flow stops.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from aiokafka.errors import ConsumerStoppedError
from faust.types import TP


class _Order:
    __slots__ = ("fetched", "has_ended", "loop", "partitions")

    def __init__(self, partitions: Collection[TP], loop: asyncio.AbstractEventLoop) -> None:
        self.partitions = frozenset(partitions)
        self.loop = loop
        self.fetched: asyncio.Future[Any] = loop.create_future()
        self.has_ended = False  # the app waits no longer


class FetchOrders:
    """The orders of one consumer, of which there is at most one at a time."""

    def __init__(self, consumer: Any) -> None:
        """Serve an aiokafka `consumer`. Called in the event loop of the consumer's thread."""
        self._consumer = consumer
        self._fetcher = consumer._fetcher
        self._subscriptions = self._fetcher._subscriptions
        self._thread_loop = asyncio.get_running_loop()
        self._place: deque[_Order] = deque()  # its methods are atomic
        self._last_order: _Order | None = None
        self._fetcher._fetch_waiters.add(self)  # which stays there, and is told whenever something has come

    # -- in the app's event loop --------------------------------------------------------------------------

    async def next_records(self, partitions: Collection[TP], timeout: float) -> Any:
        """Return the next records by partition; none if none come within `timeout` seconds.

        Raises:
            ConsumerStoppedError: the consumer is closed.
            KafkaError: what keeps aiokafka from fetching.
        """
        if self._consumer._closed or self._fetcher._closed:
            raise ConsumerStoppedError
        loop = asyncio.get_running_loop()
        order = self._last_order = _Order(partitions, loop)
        # aiokafka counts who waits for records: without anybody for max.poll.interval.ms it leaves the group.
        self._subscriptions._fetch_count += 1
        self._place.append(order)
        ends = loop.call_later(timeout, self.end)
        try:
            # Who has put something there may have looked before the order was here.
            if not order.partitions.isdisjoint(self._fetcher._records):
                self._thread_loop.call_soon_threadsafe(self._serve)
            return await order.fetched
        except BaseException:
            self.end()
            raise
        finally:
            ends.cancel()

    def end(self) -> None:
        """Let the order end now, with nothing, unless its records are on their way. Never waits."""
        if self._last_order is None:
            return
        self._last_order.has_ended = True
        with suppress(IndexError):
            order = self._place.pop()
            self._note_end()
            _resolve(order.fetched, {}, None)

    # -- in the event loop of the consumer's thread -------------------------------------------------------

    def done(self) -> bool:
        """Return that records are awaited (called by aiokafka's fetcher, of a future)."""
        return False

    def set_result(self, _: None) -> None:
        """Something has come, or the fetcher is closed (called by aiokafka's fetcher, of a future)."""
        self._serve()

    def set_exception(self, exc: Exception) -> None:
        """The consumer's group has failed (called by aiokafka's subscriptions, of a future)."""
        with suppress(IndexError):
            self._answer(self._place.pop(), {}, exc)

    def hand_over(self) -> bool:
        """Hand over what has come, if it is ordered; the fetcher is not told. Return whether it was."""
        fetcher = self._fetcher
        told, fetcher._wait_consume_future = fetcher._wait_consume_future, None
        try:
            return self._serve()
        finally:
            fetcher._wait_consume_future = told

    def _serve(self) -> bool:
        fetcher = self._fetcher
        if self._subscriptions.reassignment_in_progress and not fetcher._closed:
            # aiokafka would wait for the next assignment, and a rebalance waits for the end of the order: the
            # two would wait for each other.
            return False
        try:
            order = self._place.pop()
        except IndexError:
            return False  # nothing is ordered, or its time is over
        records: Any = {}
        failure: Exception | None = None
        try:
            if not (fetcher._closed or order.partitions.isdisjoint(fetcher._records)):
                fetcher.fetched_records(order.partitions, 0, self._consumer._max_poll_records).send(None)
        except StopIteration as taken:  # it has returned: with a time-out of 0 it waits for nothing
            records = taken.value
        except Exception as exc:
            failure = exc
        if not (records or failure or fetcher._closed):
            self._put_back(order)
            return False
        self._answer(order, records, failure)
        return bool(records)

    def _put_back(self, order: _Order) -> None:
        self._place.append(order)
        if order.has_ended:  # while it was not there
            with suppress(ValueError):  # the app has taken this one out now, and has answered it
                self._place.remove(order)
                self._answer(order, {}, None)

    def _answer(self, order: _Order, records: Any, failure: Exception | None) -> None:
        self._note_end()
        with suppress(RuntimeError):  # the app's loop is closed
            order.loop.call_soon_threadsafe(_resolve, order.fetched, records, failure)

    def _note_end(self) -> None:
        self._subscriptions._fetch_count -= 1
        self._subscriptions._last_fetch_ended = time.monotonic()


def _resolve(fetched: asyncio.Future[Any], records: Any, failure: BaseException | None) -> None:
    if fetched.done():  # nobody waits any more
        return
    if failure is None:
        fetched.set_result(records)
    else:
        fetched.set_exception(failure)
