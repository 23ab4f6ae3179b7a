"""The dashboard is up to date, asks only for what workers show, and explains itself."""

import re
from typing import Any

import grafana_foundation_sdk.models.units as units
import pytest
import yaml

from monitoring import dashboard
from monitoring.panels import GREY
from streams.observability.metric_catalogue import CATALOGUE
from tests.monitoring.queries import (
    DASHBOARD,
    ROOT,
    of_dashboard,
    panels,
    read_dashboard,
    selectors,
    series_of,
    substituted,
)

#: What Prometheus and its Python client add to the catalogue, with its labels.
FOREIGN: dict[str, tuple[str, ...]] = {
    "ALERTS": ("alertname", "alertstate", "severity"),
    "process_cpu_seconds_total": (),
    "process_max_fds": (),
    "process_open_fds": (),
    "process_resident_memory_bytes": (),
    "process_start_time_seconds": (),
    "python_gc_collections_total": ("generation",),
}
#: What the example mailer shows, as tests/mailer/test_watch.py sees it.
MAILER: dict[str, tuple[str, ...]] = {
    "mailer_attempts_failed_total": ("reason",),
    "mailer_lag_records": ("partition",),
    "mailer_letters_failed_total": ("reason",),
    "mailer_letters_sent_total": ("variant",),
    "mailer_oldest_letter_age_seconds": (),
    "mailer_ready": (),
}
#: What the example bridge shows, as tests/proca/test_bridge.py sees it.
BRIDGE: dict[str, tuple[str, ...]] = {
    "bridge_failures_total": ("error",),
    "bridge_messages_forwarded_total": ("topic",),
    "bridge_messages_redelivered_total": ("topic",),
    "bridge_messages_skipped_total": ("topic", "why"),
    "bridge_messages_too_large_total": ("topic",),
    "bridge_messages_without_key_total": ("topic",),
    "bridge_oldest_message_age_seconds": ("topic",),
    "bridge_queue_messages": ("topic",),
    "bridge_ready": ("topic",),
}
#: Metrics of the catalogue that no panel shows, with the reason.
NOT_SHOWN: dict[str, str] = {}

#: What panels say while there is nothing to show, where that is good news.
SAYS_NOTHING = {"Alerts": "no alert is pending or firing"}

VARIABLES = {
    "job": "j",
    "instance": "i",
    "mailer": "m",
    "bridge": "b",
    "organisation": "o",
    "__rate_interval": "5m",
    "__range": "1h",
}
KNOWN = {f"{each.name}{suffix}": each for each in CATALOGUE for suffix in series_of(each.kind)}
LABELS = FOREIGN | MAILER | BRIDGE | {name: described.labels for name, described in KNOWN.items()}
TARGET_LABELS = {"job", "instance"}
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}

SHIPPED = read_dashboard()
PANELS = list(panels(SHIPPED))
QUERIES = [(place, substituted(expression, VARIABLES)) for place, expression in of_dashboard(SHIPPED)]
SELECTORS = [(place, selector) for place, query in QUERIES for selector in selectors(query)]


def test_the_files_are_what_the_code_makes() -> None:
    """Nobody edits them by hand, nor forgets to write them: python -m monitoring.dashboard."""
    made = dashboard.files()
    assert DASHBOARD in made
    assert {file: file.read_text() for file in made} == made


def test_queries_ask_for_what_workers_show() -> None:
    """Each metric is in the catalogue, and so are the labels that a query matches or groups by."""
    for place, selector in SELECTORS:
        assert selector.name in LABELS, place
        matched = {matcher.name for matcher in selector.matchers.matchers}
        assert matched <= {"le", *TARGET_LABELS, *LABELS[selector.name]}, place
    for place, query in QUERIES:
        there = {"", "le", *TARGET_LABELS}.union(*(LABELS[each.name] for each in selectors(query)))
        for listed in re.findall(r"\b(?:by|on|without|group_left|group_right) ?\(([^)]*)\)", query):
            assert {label.strip() for label in listed.split(",")} <= there, place


def test_every_metric_is_shown_somewhere() -> None:
    """Who is on call sees all that workers, mailers and bridges count, but for what has a reason."""
    asked = {KNOWN[selector.name] for _, selector in SELECTORS if selector.name in KNOWN}
    hidden = {each.name for each in CATALOGUE if each not in asked}
    assert hidden == NOT_SHOWN.keys()
    assert {*MAILER, *BRIDGE} <= {selector.name for _, selector in SELECTORS}


def test_every_query_keeps_to_the_chosen_workers_mailers_and_bridges() -> None:
    """Two installations on one Prometheus are not mixed up."""
    for place, selector in SELECTORS:
        if selector.name == "ALERTS":
            continue  # some have no job: that no worker is scraped, what an audit found
        matched = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        chosen = (
            ("m", None) if selector.name in MAILER else ("b", None) if selector.name in BRIDGE else ("j", "i")
        )
        assert (matched.get("job"), matched.get("instance")) == chosen, place


def test_rates_fit_whatever_scrape_interval() -> None:
    """A range of its own shows nothing where the scrape interval is longer."""
    for place, expression in of_dashboard(SHIPPED):
        assert set(re.findall(r"\[([^\]]*)\]", expression)) <= {"$__rate_interval", "$__range"}, place


def test_legends_name_labels_that_the_query_leaves() -> None:
    """A legend with a label that was summed away is empty."""
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"\bby \([^)]*\b{label}\b", expression), f"{panel['title']}: {label}"


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_every_panel_explains_itself(panel: dict[str, Any]) -> None:
    """Title, description, a unit that Grafana knows, and the data source that is chosen."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    unit = panel["options"]["yAxis"]["unit"] if panel["type"] == "heatmap" else None
    unit = unit or panel["fieldConfig"]["defaults"]["unit"]
    assert unit in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_without_an_answer_says_so(panel: dict[str, Any]) -> None:
    """No series is told in words; of a single number also null and NaN, which are neither 0 nor green."""
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["noValue"] == SAYS_NOTHING.get(panel["title"], "no data")
    if panel["type"] == "stat":
        (unknown,) = defaults["mappings"]
        assert (unknown["type"], unknown["options"]["match"]) == ("special", "null+nan")
        assert unknown["options"]["result"] == {"text": "no data", "color": GREY, "index": 0}


def test_titles_and_ids_are_unique() -> None:
    """Links to a panel, and names in this test, mean one panel."""
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    ids = [panel["id"] for panel in [*SHIPPED["panels"], *PANELS]]
    assert len(set(ids)) == len(SHIPPED["panels"])


def test_panels_fill_their_rows_and_do_not_overlap() -> None:
    """Each place of Grafana's grid of 24 columns belongs to one panel, and no row has a gap."""
    taken: set[tuple[int, int]] = set()
    for panel in SHIPPED["panels"]:
        grid = panel["gridPos"]
        cells = {
            (grid.get("x", 0) + x, grid.get("y", 0) + y) for x in range(grid["w"]) for y in range(grid["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert {x for x, _ in taken} == set(range(24))
    assert len(taken) == 24 * (1 + max(y for _, y in taken))


def test_compose_gives_grafana_the_folder_and_the_data_source() -> None:
    """The provider looks where the compose file mounts the dashboards; their source is the default one."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    provisioning = {target: ROOT / source for source, target in mounts.items()}
    providers = yaml.safe_load(
        (provisioning["/etc/grafana/provisioning/dashboards"] / "dashboards.yaml").read_text()
    )
    (path,) = [provider["options"]["path"] for provider in providers["providers"]]
    assert provisioning[path].resolve() == DASHBOARD.parent.resolve()
    sources = yaml.safe_load(
        (provisioning["/etc/grafana/provisioning/datasources"] / "prometheus.yaml").read_text()
    )
    assert [(source["type"], source["isDefault"]) for source in sources["datasources"]] == [
        ("prometheus", True)
    ]
    address = sources["datasources"][0]["url"]
    assert address == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
