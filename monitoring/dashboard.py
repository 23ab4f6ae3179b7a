"""The Grafana dashboard for whoever is on call.

``python -m monitoring.dashboard`` writes its files anew. Rows go from the question that wakes somebody up (is
anyone waiting?) to those that say why.
"""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from monitoring.panels import SOURCE
from monitoring.rows.bridge import bridge
from monitoring.rows.emails import promise, waiting
from monitoring.rows.letters import letters
from monitoring.rows.services import lookups
from monitoring.rows.workers import partitions, process

ROOT = Path(__file__).parent.parent
FILE = ROOT / "monitoring/dashboards/confirmation-streams.json"
#: The same in one line, since kustomize reads nothing from outside its folder.
COMPACT = ROOT / "k8s/components/prometheus-operator/dashboard.json"

ROWS = {
    "Is anyone waiting?": waiting,
    "Is the promise kept?": promise,
    "Lookups": lookups,
    "Letters": letters,
    "The bridge from Proca": bridge,
    "Partitions": partitions,
    "Processes": process,
}


def _choice(name: str, label: str, query: str, about: str) -> QueryVariable:
    """Return a drop-down list that begins with All."""
    return (
        QueryVariable(name)
        .label(label)
        .description(about)
        .datasource(SOURCE)
        .query(query)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(True, "All", "$__all"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NUMERICAL_ASC)
    )


def dashboard() -> Dashboard:
    """Return the whole dashboard."""
    made = (
        Dashboard("Confirmation streams")
        .uid("confirmation-streams")
        .description("Actions in, confirmation emails out: whether anyone waits, and why.")
        .tags(["confirmation-streams", "generated"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            _choice("job", "Job", "label_values(confirmation_ready, job)", "Jobs that scrape workers")
        )
        .with_variable(
            _choice(
                "instance", "Worker", 'label_values(confirmation_ready{job=~"$job"}, instance)', "Workers"
            )
        )
        .with_variable(
            _choice("mailer", "Mailer", "label_values(mailer_ready, job)", "Jobs that scrape mailers")
        )
        .with_variable(
            _choice("bridge", "Bridge", "label_values(bridge_ready, job)", "Jobs that scrape bridges")
        )
        .with_variable(
            _choice(
                "organisation",
                "Organisation",
                'label_values(confirmation_lookups_total{job=~"$job"}, organisation)',
                "Organisations that have been asked; other: all that have no entry of their own",
            )
        )
    )
    number = 0
    for title, row in ROWS.items():
        number += 1
        made.with_row(Row(title).id(number))
        for panel in row():
            number += 1
            made.with_panel(panel.id(number))
    return made


def files() -> dict[Path, str]:
    """Return the text of each file that holds the dashboard."""
    made = dashboard().build()
    wide = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    compact = JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {FILE: wide.encode(made) + "\n", COMPACT: compact.encode(made) + "\n"}


if __name__ == "__main__":
    for file, text in files().items():
        file.write_text(text)
