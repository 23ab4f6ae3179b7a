"""What can be seen of a worker: its gauges, its probes and its page, attached to its Faust app."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faust.types import TP

from streams.delivery.lanes import Lanes
from streams.delivery.record_clock import RecordClock
from streams.kafka.members import host_of
from streams.lookup.lookups import Lookups
from streams.lookup.organisation import OrganisationLookup
from streams.observability import metric_catalogue as catalogue
from streams.observability.group_overview import GroupOverview
from streams.observability.health import WorkerHealth
from streams.observability.lag import PartitionLags
from streams.observability.metrics import Metrics
from streams.observability.page.headline import is_unasked
from streams.observability.page.live import LivePage
from streams.observability.page.lookup_statistics import LookupStatistics
from streams.observability.page.overview import Overview, WorkerParts
from streams.observability.page.recent_errors import RecentErrors
from streams.observability.web import add_pages
from streams.settings.organisations import OrganisationsInForce
from streams.startup import Startup
from streams.statuses.catch_up import CatchUp


def observe(
    app: Any,
    *,
    connection: Mapping[str, Any],
    version: str,
    metrics: Metrics,
    lanes: Mapping[str, Lanes],
    startup: Startup,
    catch_up: CatchUp,
    missing_topics: Callable[[], list[str]],
    lookups: Lookups,
    lookup_statistics: LookupStatistics,
    organisations: OrganisationsInForce,
    recent_errors: RecentErrors,
    stuck_after: float,
    clock: RecordClock,
    host_names: Sequence[str],
) -> None:
    """Show a worker's parts.

    Args:
        app: the Faust app, which serves the pages.
        connection: what every Kafka client is given.
        version: of this package.
        metrics: what is counted.
        lanes: by topic; the first topic is that of the actions.
        startup: what the worker waits for before its first record.
        catch_up: which partitions' statuses are not read yet.
        missing_topics: says which topics that lanes read are not there.
        lookups: of every organisation.
        lookup_statistics: how they did in the last minute.
        organisations: their names.
        recent_errors: the last errors of the log.
        stuck_after: seconds without progress after which a lane with work is stuck.
        clock: of the records' timestamps.
        host_names: by which the pages may be asked for, besides local ones.
    """
    health = WorkerHealth(
        startup=startup,
        lanes=lanes,
        catch_up=catch_up,
        agents=app.agents.values,
        coordinated=lambda: app.consumer.coordinated,
        group_fault=lambda: app.consumer.group_fault,
        ending=lambda: app.should_stop,
        silent_for=lambda: app.consumer.silent_for,
        stuck_after=stuck_after,
        clock_fault=lambda: clock.fault,
        missing_topics=missing_topics,
    )

    def fetch_position(topic: str, partition: int) -> tuple[int, int] | None:
        return app.consumer.fetch_position(TP(topic, partition))  # type: ignore[no-any-return]  # ours

    lags = PartitionLags(lanes.items, fetch_position, time.time, health.kafka_answers)
    metrics.lanes(lanes.items)
    metrics.gauge(catalogue.IN_FLIGHT, lambda: [((), sum(each.in_flight for each in lanes.values()))])
    metrics.gauge(catalogue.LAG, lags.lags)
    metrics.gauge(catalogue.OLDEST, lags.waiting_since)
    metrics.gauge(catalogue.BUILD_INFO, lambda: [((version,), 1.0)])
    metrics.gauge(catalogue.READY, lambda: [((), not health.not_ready())])
    metrics.gauge(catalogue.STORES_AWAY, lambda: [((), catch_up.stores_away())])
    metrics.gauge(
        catalogue.BREAKER,
        lambda: [((metrics.label(each.org_id), breaker_state(each)), 1) for each in lookups],
    )
    published = app.assignor.published
    overview = Overview(
        WorkerParts(
            published=published,
            version=version,
            metrics=metrics,
            health=health,
            decision=lambda: startup.needs_operator,
            lanes=lanes.items,
            fetch_position=fetch_position,
            lags=lags,
            lookups=lookups,
            lookup_statistics=lookup_statistics,
            organisation_name=lambda org_id: organisations.organisations.of(org_id).name,
            recent_errors=recent_errors,
        ),
        now=time.time,
    )
    add_pages(
        app,
        registry=metrics.registry,
        alive=health.not_alive,
        ready=health.not_ready,
        live=LivePage(overview, GroupOverview(app.conf.id, connection)),
        host_names=(*host_names, host_of(published.address)),
    )


def breaker_state(lookup: OrganisationLookup) -> str:
    """Return the state of an organisation's breaker, as far as it is known."""
    if is_unasked(lookup.probe_due_in):
        return catalogue.BREAKER_UNKNOWN
    return lookup.state.value
