"""A worker's Faust app, with its log and its reports of errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

from streams.kafka.faust_options import faust_options
from streams.observability import logs
from streams.observability.crash import ReportingWorker
from streams.observability.ending import Ending
from streams.observability.page.recent_errors import RecentErrors
from streams.observability.sentry import report_errors
from streams.settings.table import Settings
from streams.startup import App
from streams.statuses.recovery import ChunkTables


def faust_app(
    settings: Settings, connection: Mapping[str, Any], recent_errors: RecentErrors, ending: Ending
) -> App:
    """Make the app; nothing is connected before it starts.

    Args:
        settings: of the worker.
        connection: what every Kafka client is given (``streams.settings.connection.client_options``).
        recent_errors: is told what is logged as an error.
        ending: says with what exit code the worker ends.

    Raises:
        SettingsError: a setting needs a package that is not installed.
    """
    # At DEBUG it logs requests and responses, and in them whole records: addresses, names.
    logging.getLogger("aiokafka.conn").setLevel(logging.INFO)
    if settings.sentry_dsn is not None:
        report_errors(settings.sentry_dsn.get_secret_value(), version("confirmation-streams"))
    return App(
        settings.group_id,
        **faust_options(settings, connection),
        TableManager=ChunkTables,
        Worker=partial(ReportingWorker, ending),
        logging_config=recent_errors.added_to(logs.configuration(settings.log_level, settings.log_style)),
    )
