"""An audit's result as a file for node-exporter's textfile collector, so that an alert can tell of a miss.

The format is Prometheus' text exposition: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from streams.commands.audit.outcome import Audit
from streams.observability import metric_catalogue as catalogue
from streams.observability.metric_catalogue import AUDIT_CATALOGUE


def as_text(found: Audit, now: float) -> str:
    """Return the metrics of an audit that ended at `now`, seconds since the epoch."""
    values = {
        catalogue.AUDIT_TIME: now,
        catalogue.AUDIT_ASKED: found.counts.asked,
        catalogue.AUDIT_EMAILS: found.counts.emails,
        catalogue.AUDIT_MISSING: len(found.missing),
        catalogue.AUDIT_DOUBLED: len(found.doubled),
        catalogue.AUDIT_IN_FLIGHT: found.in_flight,
    }
    return "".join(
        f"# HELP {each.name} {each.meaning}\n# TYPE {each.name} {each.kind}\n{each.name} {values[each]}\n"
        for each in AUDIT_CATALOGUE
    )


def write(path: Path, text: str) -> None:
    """Write it in one step: the collector reads whenever it likes, and never half a file.

    Raises:
        OSError: the folder is missing or cannot be written to.
    """
    # The collector takes no notice of a name that does not end in ".prom".
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, 0o644)  # the collector is another user
            file.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
