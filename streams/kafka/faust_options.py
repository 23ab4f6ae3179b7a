"""The options that a worker's Faust app is made with."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from mode.supervisors import CrashingSupervisor

from streams.kafka.credentials import credentials
from streams.kafka.faust_driver import SCHEME
from streams.kafka.members import PublishingAssignor, published_by
from streams.settings.table import Settings


def faust_options(settings: Settings, connection: Mapping[str, Any]) -> dict[str, Any]:
    """Return Faust's options.

    Args:
        settings: of the worker.
        connection: what every Kafka client is given (``streams.settings.connection.client_options``).
    """
    return {
        "env": {},  # or a stray WEB_PORT or BROKER_URL would win over our settings
        "broker": [f"{SCHEME}://{server}" for server in settings.kafka_bootstrap_servers],
        "broker_credentials": credentials(connection),
        "store": f"{settings.store}://",
        # Faust puts its configuration in the place of {…}.
        "datadir": str(settings.store_folder).replace("{", "{{").replace("}", "}}"),
        "consumer_auto_offset_reset": "earliest",  # for statuses; actions always have a committed offset
        "consumer_group_instance_id": settings.group_instance_id,
        "broker_session_timeout": settings.session_timeout,
        "broker_heartbeat_interval": settings.heartbeat_interval,
        "broker_rebalance_timeout": settings.rebalance_timeout,
        "broker_max_poll_interval": settings.max_poll_interval,
        "broker_max_poll_records": settings.chunk_records,
        "broker_commit_interval": 1.0,
        "topic_disable_leader": True,
        "stream_wait_empty": False,
        # Stock Faust starts an agent again that met a bug, for ever; what it held is never read again.
        "agent_supervisor": CrashingSupervisor,
        # Faust's assignor insists that an assignment bears the worker's own URL. A static member's successor
        # is given the assignment of its predecessor, which may have had another host or port.
        "canonical_url": "http://worker",
        "PartitionAssignor": partial(PublishingAssignor, published_by(settings)),
        "web_host": settings.web_host,
        "web_bind": settings.web_host,
        "web_port": settings.web_port,
        # Faust's own pages would serve what the table holds.
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "web_stats_enabled": False,
        "web_graph_enabled": False,
        "worker_redirect_stdouts": False,
    }
