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


def selectors(expression: str) -> set[str]:
    """Return name and matchers of every vector selector in an expression without variables."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(f"{node.name or ''}{node.matchers}")

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def metrics(expression: str) -> set[str]:
    """Return the names of the metrics in an expression without variables."""
    return {selector.partition("{")[0] for selector in selectors(expression)}
