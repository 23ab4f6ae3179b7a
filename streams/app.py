"""The worker: topics, table, agents, lanes and lookups, put together.

    actions ──────────▶ confirm ──▶ lanes ──▶ confirmation-emails, actions.dlq, or re-keyed and once more
    supporter-status ─▶ ingest ───▶ table ──▶ its changelog

``streams worker`` and ``faust -A streams.app worker`` both run it. Importing this module makes nothing:
:func:`build` makes a worker, and nothing is connected before the worker starts.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial, wraps
from importlib.metadata import version
from typing import Any

from aiokafka import TopicPartition
from faust.types import TP

from streams.actions.acceptance import DeadLetterLimits
from streams.actions.dead_letter import with_key
from streams.actions.duplicates import Duplicates
from streams.actions.lookup_retries import LookupRetries
from streams.actions.processor import ActionProcessor
from streams.actions.rekeying import Rekeying, rekeyed_from, with_first_timestamp
from streams.delivery import batches
from streams.delivery.commit_slots import CommitSlots
from streams.delivery.kafka_transaction import ALWAYS, KafkaTransactions
from streams.delivery.lane import Lane
from streams.delivery.lane_state import LaneLimits
from streams.delivery.lanes import Lanes
from streams.delivery.log_watch import LogWatch
from streams.delivery.record_clock import RecordClock
from streams.delivery.results import Processor, Release
from streams.delivery.transaction import Outgoing, TransactionPort
from streams.kafka.chunks import ChunkSchema
from streams.kafka.mark_reader import read_since
from streams.kafka.topic_ids import topic_id_of
from streams.kafka.topics import TABLE, TopicNames, Topics
from streams.lookup.lookups import Lookups
from streams.native.worker import native_lanes
from streams.observability.ending import Ending
from streams.observability.event_loop import measure_lag
from streams.observability.faust_app import faust_app
from streams.observability.metric_catalogue import RELEASED
from streams.observability.metrics import Metrics
from streams.observability.page.lookup_statistics import LookupStatistics
from streams.observability.page.recent_errors import RecentErrors
from streams.observability.tracing import CollectorSpans, TracingProcessor
from streams.observability.worker_page import observe
from streams.settings.connection import client_options
from streams.settings.load import load_settings
from streams.settings.organisations import OrganisationsInForce
from streams.settings.table import Settings
from streams.startup import App, Startup, spare_garbage_collector
from streams.statuses import memory
from streams.statuses.catch_up import CatchUp
from streams.statuses.index_filling import IndexFilling
from streams.statuses.ingest import StatusIngest
from streams.statuses.lookup_cache import LookupCache
from streams.statuses.recovery import ChangelogOwner
from streams.statuses.repair import StoreRepair
from streams.statuses.rocksdb import table_options
from streams.statuses.store_owner import StoreOwner
from streams.statuses.table import StatusTable


class AgentEnded(Exception):
    """An agent returned: nobody reads its topic any more. The text names it."""


def build(settings: Settings, environ: Mapping[str, str] = os.environ) -> App:
    """Make a worker; nothing is connected before it starts.

    Args:
        settings: of the worker.
        environ: where the organisations file finds its secrets.

    Raises:
        OrganisationsError: the organisations file is wrong.
        SettingsError: a setting needs a package that is not installed.
    """
    package_version = version("confirmation-streams")
    names, connection = TopicNames.of(settings), client_options(settings)
    organisations = OrganisationsInForce(settings, environ)
    recent_errors = RecentErrors(time.time)
    ending = Ending(settings.drain_grace)
    app = faust_app(settings, connection, recent_errors, ending)
    clock = RecordClock()
    metrics = Metrics(names.actions, names.statuses, named=organisations.named, now=clock.now)
    native = native_lanes(settings, clock.now, metrics.judged, app.task)
    filling = native and IndexFilling(native.index, lambda: lanes.partitions())
    startup = app.startup = Startup(
        connection=connection,
        group=settings.group_id,
        names=names,
        partitions=settings.topic_partitions,
        replication=settings.topic_replication,
        choice=settings.actions_start,
        on_lost=metrics.actions_lost,
    )

    # -- the statuses: a table, fed by the CRM's topic and by lookup answers --------------------------------
    table: Any = app.Table(
        TABLE,
        schema=ChunkSchema(settings.chunk_records, ChangelogOwner()),
        key_type=bytes,
        value_type=bytes,
        options=table_options(
            settings,
            owner=lambda: startup.ids and StoreOwner(settings.group_id, names.changelog, *startup.ids),
            on_set_aside=metrics.store_set_aside,
            indexed=filling.indexed if filling else lambda rows: rows,
        ),
    )
    statuses = StatusTable(table, lambda: app.producer.send_many, lambda: app.consumer_generation_id)  # type: ignore[attr-defined]  # our ChunkProducer

    async def keep(dead_letters: Sequence[Outgoing]) -> None:
        """Write dead letters of the status topic."""
        assert startup.topics is not None
        await batches.write(app.producer.client, dead_letters, startup.topics.max_message_bytes)  # type: ignore[attr-defined]  # our ChunkProducer

    ingest = StatusIngest(
        statuses, metrics, keep, names.dead_letters, lambda: app.consumer_generation_id, time.time
    )
    catch_up = CatchUp(names.statuses, startup.offsets, lambda: app.consumer, statuses.away, memory.give_back)

    # -- lookups and lanes: an email leaves as soon as its own decision is made -----------------------------
    lookup_statistics = LookupStatistics(metrics, time.monotonic)
    lookups = Lookups(organisations.organisations, lookup_statistics)
    spans = CollectorSpans(settings.otlp_endpoint, package_version) if settings.otlp_endpoint else None
    slots = CommitSlots()
    limits = DeadLetterLimits(settings.dead_letter_ceiling, names.dead_letters, startup.offsets.committed)
    duplicates = names.marks and Duplicates(
        settings.duplicate_window,
        names.marks,
        partial(read_since, names.marks, connection, startup.offsets.extents),
        time.time,
    )

    def crash(exc: Exception) -> None:
        """End the worker, not with exit code 0: what cannot be trusted is not repaired by guessing."""
        asyncio.get_running_loop().create_task(app.crash(exc), name="crash")

    def processor(topic: str, partition: int, topics: Topics) -> ActionProcessor:
        was_rekeyed = topic == names.rekeyed
        return ActionProcessor(
            names.actions,
            partition,
            emails_topic=names.emails,
            dead_letters_topic=names.dead_letters,
            subscribed=statuses.subscribed,
            lookups=lookups,
            now=time.time,
            lookups_most=settings.max_pending_lookups,
            lookups_most_per_organisation=settings.pending_lookups_per_organisation,
            answered=lookup_cache.keep,
            dead_letter_limit=limits.of(topic, partition),
            rekeying=None if was_rekeyed else Rekeying(names.rekeyed, partition, topics.partitions),
            rekeyed_from=rekeyed_from if was_rekeyed else None,
            epochs=partial(startup.epochs_in, partition),
            repeats_at=settings.confirm_repeats_at,
            message_decides=organisations.message_decides,
            complete=with_key if names.dead_letters in topics.compacted else lambda letter: letter,
        )

    def lane(topic: str, partition: int) -> Lane:
        assert startup.topics is not None
        assert startup.limits is not None
        made: Processor = (plain := processor(topic, partition, startup.topics))
        transactions: TransactionPort
        transactions = kafka = KafkaTransactions(
            TopicPartition(topic, partition),
            group=settings.group_id,
            connection=connection,
            committed=startup.offsets.decided,
            limits=startup.limits,
            transaction_timeout=settings.transaction_timeout,
            clock=clock,
            member=lambda: app.consumer.membership,  # type: ignore[attr-defined]  # our ChunkConsumer
            alone=ALWAYS if topic == names.rekeyed else 0,  # `start-at` has to fence such a lane
        )
        if duplicates:
            transactions, made = duplicates.watched(partition, startup.topics.partitions, transactions, made)
        kind: Callable[..., Lane] = Lane
        if native and filling and topic == names.actions:
            kind = native.kind(
                TopicPartition(topic, partition),
                emails_topic=names.emails,
                room=lambda: kafka.batch_bytes,
                understood=plain.understood,
                statuses=partial(filling.statuses, partition),
                without_asking=plain.without_asking,
                epochs=partial(startup.epochs_in, partition),
            )
        return kind(
            partition,
            transactions,
            TracingProcessor(made, spans, topic, partition) if spans else made,
            metrics,
            clock=time.monotonic,
            on_crash=crash,
            limits=LaneLimits(uncommitted=settings.max_unsettled, inbox=settings.chunk_records),
            slots=slots,
        )

    def read_from(topic: str, partition: int, offset: int) -> None:
        app.consumer.read_from(TP(topic, partition), offset)  # type: ignore[attr-defined]  # our ChunkConsumer

    lanes, rekeyed_lanes = (
        Lanes(
            partial(lane, topic),
            partial(startup.begin, topic),
            crash,
            catch_up.gate(topic),
            partial(read_from, topic),
        )
        for topic in (names.actions, names.rekeyed)
    )
    log_watch = LogWatch(
        {names.actions: lanes, names.rekeyed: rekeyed_lanes},
        startup.offsets,
        topic_id_of,
        lambda: app.consumer.look_at_topics(),  # type: ignore[attr-defined]  # our ChunkConsumer
    )
    lookup_cache = LookupCache(
        statuses, organisations.lifetime, now=time.time, random=random.random, partitions=lanes.partitions
    )

    store_repair = StoreRepair(
        statuses,
        changelog=names.changelog,
        connection=connection,
        offsets=startup.offsets,
        partitions=lanes.partitions,
    )

    # -- what is read, and by whom --------------------------------------------------------------------------
    def endless(agent: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """Return an agent that ends the worker when it returns before the worker ends."""

        @wraps(agent)
        async def run(stream: Any) -> None:
            await agent(stream)
            if not app.should_stop:
                raise AgentEnded(f"agent {agent.__name__} has ended")

        return run

    chunks = partial(ChunkSchema, settings.chunk_records)

    @app.agent(app.topic(names.actions, schema=chunks(lanes, native and native.gather)), name="confirm")
    @endless
    async def confirm(stream: Any) -> None:
        """Every action gets its email: hand each chunk to its partition's lane."""
        async for event in stream.noack().events():
            for chunk in event.value:
                lanes.offer(chunk.partition, chunk.generation, chunk.records, chunk.since)

    @app.agent(app.topic(names.rekeyed, schema=chunks(rekeyed_lanes)), name="confirm_rekeyed")
    @endless
    async def confirm_rekeyed(stream: Any) -> None:
        """The same for actions that had to be moved to the partition of their supporter's status first."""
        async for event in stream.noack().events():
            for chunk in event.value:
                records = [with_first_timestamp(record) for record in chunk.records]
                rekeyed_lanes.offer(chunk.partition, chunk.generation, records, chunk.since)

    @app.agent(app.topic(names.statuses, schema=chunks()), name="ingest_statuses")
    @endless
    async def ingest_statuses(stream: Any) -> None:
        """What the CRM knows goes into the table."""
        async for event in stream.noack().events():
            for chunk in event.value:
                await ingest.ingest(chunk)

    ending.handed_over = partial(metrics.total, RELEASED, why=Release.HANDED_OVER)
    ending.in_flight = lambda: lanes.in_flight + rekeyed_lanes.in_flight

    # -- life: what runs beside the agents, and how it ends -------------------------------------------------
    @app.on_rebalance_complete.connect
    async def restored(*_: Any, **__: Any) -> None:
        """Faust's recovery of the table is done."""
        catch_up.restored()

    async def reload_on_hangup() -> None:
        """Read the organisations file again at every SIGHUP."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, organisations.reload, lookups.reload)

    for task in (
        lookup_cache.write,
        lookup_cache.sweep,
        store_repair.run,
        limits.run,
        log_watch.run,
        spare_garbage_collector,
        reload_on_hangup,
        LookupRetries(lookups, names.dead_letters, startup.offsets.committed, time.time).run,
        lambda: measure_lag(metrics.lagged, clock=time.monotonic),
        *([filling.run] if filling else []),
    ):
        app.task(task)

    @app.on_before_shutdown.connect
    async def drain(*_: Any, **__: Any) -> None:
        """Let lookups under way end, commit, and let go of every lane."""
        await asyncio.gather(*(each.close(settings.drain_grace) for each in (lanes, rekeyed_lanes)))
        ending.log_what_is_left()
        await lookups.aclose()
        if spans:
            await asyncio.to_thread(spans.close)

    observe(
        app,
        connection=connection,
        version=package_version,
        metrics=metrics,
        lanes={names.actions: lanes, names.rekeyed: rekeyed_lanes},
        startup=startup,
        catch_up=catch_up,
        missing_topics=lambda: log_watch.missing,
        lookups=lookups,
        lookup_statistics=lookup_statistics,
        organisations=organisations,
        recent_errors=recent_errors,
        stuck_after=settings.stuck_after,
        clock=clock,
        host_names=settings.web_host_names or (),
    )
    return app


@cache
def _app() -> App:
    return build(load_settings(os.environ))


def __getattr__(name: str) -> Any:
    """Make the worker when Faust's command line asks this module for its ``app``, once."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
