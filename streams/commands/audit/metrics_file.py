"""An audit's result as a file for node-exporter's textfile collector, so that an alert can tell of a miss."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from streams.commands.audit.outcome import AuditResult
from streams.observability import metric_catalogue as catalogue


def gauges(found: AuditResult, now: float) -> CollectorRegistry:
    """Return the metrics of an audit that ended at `now`, in seconds since the epoch."""
    registry = CollectorRegistry()
    for each, value in (
        (catalogue.AUDIT_TIME, now),
        (catalogue.AUDIT_ASKED, found.counts.asked),
        (catalogue.AUDIT_EMAILS, found.counts.emails),
        (catalogue.AUDIT_MISSING, len(found.missing)),
        (catalogue.AUDIT_DOUBLED, len(found.doubled)),
        (catalogue.AUDIT_IN_FLIGHT, found.in_flight),
    ):
        Gauge(each.name, each.meaning, registry=registry).set(value)
    return registry


def write(path: Path, registry: CollectorRegistry) -> None:
    """Replace the file at `path` in one step, so that the collector never reads half of it.

    Raises:
        OSError: the folder is missing or cannot be written to.
    """
    write_to_textfile(str(path), registry)
    path.chmod(0o644)  # the collector runs as another user, whatever the umask of this one is
