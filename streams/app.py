"""The whole topology on one screen: topics, table, agents, lanes, lookups, pages.

    actions ──────────▶ confirm ──▶ lanes ──▶ confirmation-emails, actions.dlq, or re-keyed and once more
    supporter-status ─▶ learn ────▶ table ──▶ its changelog

``streams worker`` and ``faust -A streams.app worker`` both run it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import socket
import time
from functools import partial
from importlib.metadata import version
from typing import Any

from aiokafka import TopicPartition
from faust.stores import STORES
from faust.types import TP

from streams.actions.dead_letter import Ceiling
from streams.actions.processor import Confirmation
from streams.actions.rekeying import Rekeying, first_place
from streams.delivery.commit_slots import Turns
from streams.delivery.kafka_transaction import KafkaLedger
from streams.delivery.lane import Lane, Limits
from streams.delivery.lanes import Lanes
from streams.kafka.chunks import ChunkSchema
from streams.kafka.credentials import credentials
from streams.kafka.faust_driver import SCHEME
from streams.kafka.topics import TABLE, TopicNames
from streams.lookup.lookups import Desks
from streams.observability import logs
from streams.observability import metric_catalogue as catalogue
from streams.observability.event_loop import measure_lag
from streams.observability.health import Health
from streams.observability.lag import Backlog
from streams.observability.metrics import Metrics
from streams.observability.page.live import LivePage
from streams.observability.page.lookups import LookupWatch
from streams.observability.page.recent_errors import RecentErrors
from streams.observability.page.snapshot import Sources, Watch
from streams.observability.sentry import report_errors
from streams.observability.tracing import CollectorSpans, Traced
from streams.observability.web import add_pages
from streams.settings.connection import client_options
from streams.settings.load import load_settings
from streams.settings.organisations import Plans
from streams.startup import App, Groundwork
from streams.statuses.catch_up import CatchUp
from streams.statuses.ingest import Learning
from streams.statuses.lookup_cache import Answers
from streams.statuses.recovery import ChunkTables, StoreOffsets
from streams.statuses.table import StatusTable

# At DEBUG it logs requests and responses, and in them whole records: addresses, names.
logging.getLogger("aiokafka.conn").setLevel(logging.INFO)

settings = load_settings(os.environ)
if settings.sentry_dsn is not None:
    report_errors(settings.sentry_dsn.get_secret_value(), version("confirmation-streams"))
spans = settings.otlp_endpoint and CollectorSpans(settings.otlp_endpoint, version("confirmation-streams"))
plans = Plans(settings, os.environ)
connection = client_options(settings)
names = TopicNames.of(settings)
recent_errors = RecentErrors(time.time)

app = App(
    settings.group_id,
    env={},  # or a stray WEB_PORT or BROKER_URL would win over our settings
    broker=[f"{SCHEME}://{server}" for server in settings.kafka_bootstrap_servers],
    broker_credentials=credentials(connection),
    store=f"{settings.store}://",
    datadir=str(settings.store_folder),
    consumer_auto_offset_reset="earliest",  # for statuses; actions always have a committed offset
    consumer_group_instance_id=settings.group_instance_id,
    broker_session_timeout=settings.session_timeout,
    broker_heartbeat_interval=settings.heartbeat_interval,
    broker_rebalance_timeout=settings.rebalance_timeout,
    broker_max_poll_interval=settings.max_poll_interval,
    broker_max_poll_records=settings.chunk_records,
    broker_commit_interval=1.0,
    topic_disable_leader=True,
    TableManager=ChunkTables,
    stream_wait_empty=False,
    # Faust's assignor insists that an assignment bears the worker's own URL. A static member's successor is
    # given the assignment of its predecessor, which may have had another host or port.
    canonical_url="http://worker",
    web_host=settings.web_host,
    web_bind=settings.web_host,
    web_port=settings.web_port,
    web_tables_enabled=False,
    web_router_enabled=False,
    web_stats_enabled=False,
    web_graph_enabled=False,
    worker_redirect_stdouts=False,
    logging_config=recent_errors.added_to(logs.configuration(settings.log_level, settings.log_style)),
)

# -- the table -------------------------------------------------------------------------------------------

STORES.aliases["rocksdb"] = "streams.statuses.rocksdb:Store"
rocksdb = {
    "driver": "rocksdict",
    "block_cache_size": settings.store_block_cache << 20,
    # Measured with a million rows: Faust's 64 MiB a partition kept 70 MB more, and were slower to write.
    "write_buffer_size": 4 << 20,
    # Bits a key. With Faust's 3, asking for keys that are not there filled the block cache with 60 MB.
    "bloom_filter_size": 10,
}
table: Any = app.Table(
    TABLE,
    schema=ChunkSchema(settings.chunk_records, StoreOffsets()),
    key_type=bytes,
    value_type=bytes,
    options=rocksdb if settings.store == "rocksdb" else {},
)
metrics = Metrics(names.actions, names.statuses, named=plans.named)
statuses = StatusTable(
    table,
    lambda: app.producer.send_many,  # type: ignore[attr-defined]  # our ChunkProducer
    lambda: app.consumer_generation_id,
)

# -- before the first record, and until the statuses are whole ---------------------------------------------

groundwork = app.groundwork = Groundwork(
    connection=connection,
    group=settings.group_id,
    names=names,
    partitions=settings.topic_partitions,
    replication=settings.topic_replication,
    choice=settings.actions_start,
)
catch_up = CatchUp(names.statuses, groundwork.offsets, lambda: app.consumer)

# -- lookups and lanes -------------------------------------------------------------------------------------

lookup_watch = LookupWatch(metrics, time.monotonic)
desks = Desks(plans.organisations, lookup_watch)
turns = Turns()


def lane(topic: str, partition: int) -> Lane:
    """Make the lane of one partition: of actions, or of those that had to be re-keyed."""
    assert groundwork.topics is not None
    place = TopicPartition(topic, partition)
    ledger = KafkaLedger(
        place,
        group=settings.group_id,
        connection=connection,
        committed=groundwork.offsets.committed,
        max_message_bytes=groundwork.topics.max_message_bytes,
        transaction_timeout=settings.transaction_timeout,
    )
    moved = topic == names.rekeyed
    confirmation = Confirmation(
        names.actions,
        partition,
        emails_topic=names.emails,
        dead_letters_topic=names.dead_letters,
        statuses=statuses,
        lookups=desks,
        now=time.time,
        pending_most=settings.max_pending_lookups,
        pending_most_per_organisation=settings.pending_lookups_per_organisation,
        answered=answers.note,
        ceiling=Ceiling(settings.dead_letter_ceiling),
        rekeying=None if moved else Rekeying(names.rekeyed, partition, groundwork.topics.partitions),
        origin=first_place if moved else None,
    )
    limits = Limits(unsettled=settings.max_unsettled, inbox=settings.chunk_records)
    judge = Traced(confirmation, spans, topic, partition) if spans else confirmation
    return Lane(
        partition,
        ledger,
        judge,
        metrics,
        clock=time.monotonic,
        on_crash=crash,
        limits=limits,
        turns=turns,
    )


async def beginning(topic: str, partition: int) -> int:
    """Return the first offset of a partition in which the group has none committed: one added later."""
    place = TopicPartition(topic, partition)
    return (await groundwork.offsets.extents([place]))[place].first


def crash(exc: Exception) -> None:
    """End the worker, not with exit code 0: what cannot be trusted is not repaired by guessing."""
    asyncio.get_running_loop().create_task(app.crash(exc), name="crash")


lanes, moved_lanes = (
    Lanes(partial(lane, topic), partial(beginning, topic), crash, catch_up.gate(topic))
    for topic in (names.actions, names.rekeyed)
)
answers = Answers(statuses, plans.lifetime, now=time.time, dice=random.random, partitions=lanes.partitions)

# -- topics and agents -------------------------------------------------------------------------------------

actions = app.topic(names.actions, schema=ChunkSchema(settings.chunk_records, lanes))
moved_actions = app.topic(names.rekeyed, schema=ChunkSchema(settings.chunk_records, moved_lanes))
status_rows = app.topic(names.statuses, schema=ChunkSchema(settings.chunk_records))
learning = Learning(
    statuses,
    metrics,
    lambda: app.producer.send_many,  # type: ignore[attr-defined]  # our ChunkProducer
    names.dead_letters,
    lambda: app.consumer_generation_id,
)


@app.agent(actions)
async def confirm(stream: Any) -> None:
    """Every action gets its email: hand each chunk to its partition's lane."""
    async for event in stream.noack().events():
        chunk = event.value
        lanes.offer(chunk.partition, chunk.generation, chunk.records, chunk.since)


@app.agent(moved_actions)
async def confirm_moved(stream: Any) -> None:
    """The same for those that had to be moved to their supporter's partition first."""
    async for event in stream.noack().events():
        chunk = event.value
        moved_lanes.offer(chunk.partition, chunk.generation, chunk.records, chunk.since)


@app.agent(status_rows)
async def learn(stream: Any) -> None:
    """What the CRM knows goes into the table."""
    async for event in stream.noack().events():
        await learning.learn(event.value)


# -- life --------------------------------------------------------------------------------------------------


@app.on_rebalance_complete.connect
async def restored(*_: Any, **__: Any) -> None:
    """Faust's recovery of the table is done."""
    catch_up.restored()


@app.task  # type: ignore[untyped-decorator]  # Faust ships no types
async def keep_answers() -> None:
    """Write lookup answers into the table."""
    await answers.write()


@app.task  # type: ignore[untyped-decorator]  # Faust ships no types
async def sweep_answers() -> None:
    """Remove the expired ones."""
    await answers.sweep()


@app.task  # type: ignore[untyped-decorator]  # Faust ships no types
async def collect_less_garbage() -> None:
    """Keep the garbage collector off what lives as long as the worker, or only for a transaction.

    The objects of the actions under way, hundreds of thousands, are freed by their reference counts. With
    Python's thresholds they were looked at again and again: a third of the CPU of an action.
    """
    gc.freeze()
    gc.set_threshold(200_000, 10, 100)


@app.task  # type: ignore[untyped-decorator]  # Faust ships no types
async def watch_event_loop() -> None:
    """Note how late the event loop is."""
    await measure_lag(metrics.lagged, clock=time.monotonic)


@app.task  # type: ignore[untyped-decorator]  # Faust ships no types
async def obey_hangups() -> None:
    """Read the organisations file again at every SIGHUP."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, plans.reload, desks.reload)


@app.on_before_shutdown.connect
async def drained(*_: Any, **__: Any) -> None:
    """Let lookups under way end, commit, and let go of every lane."""
    await asyncio.gather(*(each.close(settings.drain_grace) for each in (lanes, moved_lanes)))
    await desks.aclose()
    if spans:
        await asyncio.to_thread(spans.close)


health = Health(
    groundwork=groundwork,
    lanes=(lanes, moved_lanes),
    catch_up=catch_up,
    agents=app.agents.values,
    coordinated=lambda: app.consumer.coordinated,  # type: ignore[attr-defined]  # our ChunkConsumer
    stuck_after=settings.stuck_after,
)


def all_lanes() -> list[tuple[str, Lanes]]:
    """Return every topic with its lanes."""
    return [(names.actions, lanes), (names.rekeyed, moved_lanes)]


def reach(topic: str, partition: int) -> tuple[int, int] | None:
    """Return the end of a partition, and how far it was fetched."""
    return app.consumer.reach(TP(topic, partition))  # type: ignore[attr-defined,no-any-return]  # ours


backlog = Backlog(all_lanes, reach, time.time)
metrics.lanes(all_lanes)
metrics.gauge(catalogue.IN_FLIGHT, lambda: [((), lanes.in_flight + moved_lanes.in_flight)])
metrics.gauge(catalogue.LAG, backlog.lags)
metrics.gauge(catalogue.OLDEST, backlog.oldest)
running = [((version("confirmation-streams"),), 1.0)]
metrics.gauge(catalogue.BUILD_INFO, lambda: running)
metrics.gauge(catalogue.READY, lambda: [((), not health.not_ready())])
metrics.gauge(catalogue.BREAKER, lambda: [((metrics.label(d.org_id), d.state.value), 1) for d in desks])
watch = Watch(
    Sources(
        worker=settings.group_instance_id or socket.gethostname(),
        version=version("confirmation-streams"),
        counters=metrics,
        checks=health,
        decision=lambda: groundwork.decision,
        lanes=all_lanes,
        reach=reach,
        backlog=backlog,
        desks=desks,
        lookups=lookup_watch,
        called=lambda org_id: plans.organisations.of(org_id).name,
        errors=recent_errors,
    ),
    now=time.time,
)
add_pages(
    app, registry=metrics.registry, alive=health.not_alive, ready=health.not_ready, live=LivePage(watch)
)
