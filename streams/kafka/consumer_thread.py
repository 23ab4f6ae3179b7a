"""The thread of Faust's aiokafka consumer: joins the group, keeps up its heartbeats, and fetches."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, cast

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError
from faust.transport.drivers import aiokafka as driver

from streams.kafka.fetch_orders import FetchOrders
from streams.kafka.fetch_sessions import fetch_in_sessions
from streams.kafka.fetching import fetch_chunks, follow_leaders, go_on_fetching, pace_fetches
from streams.kafka.frames import read_frames
from streams.kafka.group import GroupMembership
from streams.kafka.interruptions import note_interruptions
from streams.kafka.record_batches import read_any_batch
from streams.kafka.sending import send_simply
from streams.kafka.static_membership import watch
from streams.kafka.unserved import read_unserved

#: Milliseconds the broker may hold a fetch that finds nothing. aiokafka keeps one fetch a broker in flight,
#: so a partition that opens again waits for it: Faust's 1,500 ms would be the delay of an email.
_FETCH_MAX_WAIT_MS = 50
#: Seconds between two heartbeats of this thread. They say that its event loop turns, and go to nobody else.
_BEAT_EVERY = 0.5


class ChunkConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads only committed records, whatever Faust's own processing guarantee says."""

    _beat_at: float | None = None  # when its event loop turned last; None: it has not begun
    _membership: GroupMembership | None = None  # None: it has not begun
    _orders: FetchOrders | None = None  # None: it has not begun

    @property
    def group_fault(self) -> str | None:
        """What keeps this worker out of its group, a sentence; None: nothing that is known."""
        return None if self._membership is None else self._membership.fault

    @property
    def silent_for(self) -> float:
        """Seconds since this thread's event loop turned; 0 before it begins, and when it is to end."""
        return 0.0 if self._beat_at is None or self.should_stop else time.monotonic() - self._beat_at

    async def _beat(self) -> None:
        while not self.should_stop:
            self._beat_at = time.monotonic()
            await self.sleep(_BEAT_EVERY)

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        read_any_batch()
        read_frames()
        send_simply()
        conf = self.app.conf
        self._assignor = self.app.assignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def on_start(self) -> None:
        """Connect; and end the app if the group membership's own task ever ends by an error.

        Nobody looks at it while nothing is assigned: the worker would be alive, quiet, and idle for ever.
        """
        self.add_future(self._beat())
        await super().on_start()
        _commit_when_allowed(self._consumer)
        fetcher = cast(Any, self._consumer)._fetcher
        next_fetch = fetch_in_sessions(fetcher)
        note_interruptions(fetcher._client, cast(Any, self.consumer).interrupted)
        pace_fetches(fetcher, self._is_taken)
        follow_leaders(fetcher)
        read_unserved(fetcher)
        fetch_chunks(fetcher, cast(Any, self.consumer).schemas.of)
        self._orders = FetchOrders(self._consumer)
        go_on_fetching(fetcher, self._orders.hand_over, next_fetch)
        coordinator = cast(Any, self._consumer)._coordinator
        coordination = getattr(coordinator, "_coordination_task", None)  # a client without a group has none
        if coordination is not None:
            conf = self.app.conf
            self._membership = GroupMembership(coordinator, conf.broker_session_timeout)
            if (name := conf.consumer_group_instance_id) is not None:
                # The last one to look: what it keeps from the client must not be asked for again.
                watch(coordinator._client, name, conf.broker_session_timeout, self._end_app)
            coordination.add_done_callback(self._coordination_ended)

    def _is_taken(self, tp: TopicPartition) -> bool:
        """Whether Faust takes records of a partition now: not of a changelog that has been restored."""
        active = cast(Any, self.consumer)._active_partitions
        return active is None or tp in active

    def look_at_topics(self) -> None:
        """Let the client read the metadata of its topics soon. Never waits."""
        if self._consumer is not None:
            self.thread_loop.call_soon_threadsafe(self._consumer._client.force_metadata_update)

    async def getmany(self, active_partitions: Any, timeout: float) -> Any:
        """Fetch the next records within `timeout` seconds. Called in the app's event loop, one at a time.

        It does not go through the queue of calls that Faust has for its thread: two tasks, seven futures and
        as many turns of two event loops for each fetch, as often as actions come.
        """
        self._ensure_consumer()
        assert self._orders is not None, "it has a consumer"
        return await self._orders.next_records(active_partitions, timeout)

    def end_fetch(self) -> None:
        """Let the fetch under way end now, with nothing. Called in the app's event loop; never waits."""
        if self._orders is not None:
            self._orders.end()

    def _coordination_ended(self, coordination: asyncio.Task[None]) -> None:
        if not coordination.cancelled() and (exc := coordination.exception()) is not None:
            self._end_app(cast(Exception, exc))

    def _end_app(self, exc: Exception) -> None:
        asyncio.run_coroutine_threadsafe(self.app.crash(exc), self.parent_loop)

    def _stopped_set(self) -> None:
        with suppress(RuntimeError):  # its loop is closed: after a crash of the app the thread ends by itself
            super()._stopped_set()

    async def create_topic(self, *_: Any, **__: Any) -> None:
        """Topics are made, with their settings checked, before this consumer starts."""


def _commit_when_allowed(consumer: Any) -> None:
    """Let an aiokafka `consumer` that may not commit now do so later: Faust would end the app.

    That the right to read the group is missing is said by the group's own answers.
    """
    commit = consumer.commit

    async def commit_or_not(offsets: Any) -> None:
        try:
            await commit(offsets)
        except GroupAuthorizationFailedError as exc:  # to Faust, this text is no reason to end
            raise CommitFailedError("as if the group had already rebalanced") from exc

    consumer.commit = commit_or_not
