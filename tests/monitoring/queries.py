"""Every query of the dashboard and of the rules, and what Grafana would put into them."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import yaml

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "monitoring/dashboards/confirmation-streams.json"
RULES = sorted((ROOT / "monitoring/rules").glob("*.yaml"))


class Query(NamedTuple):
    """One expression and where it stands: panel and refId, or group and rule."""

    place: str
    expression: str


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give every panel but the rows, those within collapsed rows too."""
    for panel in dashboard["panels"]:
        yield from (panel["panels"] if panel["type"] == "row" else [panel])


def of_dashboard(dashboard: Mapping[str, Any]) -> list[Query]:
    """Return what the panels ask."""
    return [
        Query(f"{panel['title']} {target['refId']}", target["expr"])
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def read_dashboard() -> dict[str, Any]:
    """Return the dashboard that is shipped."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def rules() -> list[tuple[str, dict[str, Any]]]:
    """Return every rule that is shipped, with its group's name."""
    return [
        (group["name"], rule)
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def substituted(expression: str, values: Mapping[str, str]) -> str:
    """Return an expression with variables replaced, as ``$name`` or ``${name}``; unknown ones are left."""
    return re.sub(
        r"\$(?:\{(\w+)\}|(\w+))", lambda match: values.get(match[1] or match[2], match[0]), expression
    )


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Return every vector selector in an expression without variables."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def series_of(kind: str) -> list[str]:
    """Return what Prometheus adds to the name of a metric of this kind, for each of its series."""
    return {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[kind]
