"""The outages that the script makes are those of the documents and of the alert tests."""

import re

import pytest
import yaml

from tests.monitoring.queries import rules
from tests.outages.__main__ import DOCUMENT, RECORDED
from tests.outages.outages import OUTAGES, Outage, Teller
from tests.outages.recording import notation
from tests.outages.table import BEGIN, END, cells_of, into, titles

SEVERITIES = {rule["alert"]: rule["labels"]["severity"] for _, rule in rules() if "alert" in rule}


def test_the_table_of_the_document_has_every_outage() -> None:
    """In their order, and none that the script does not make."""
    assert titles(DOCUMENT.read_text()) == [outage.title for outage in OUTAGES]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)
def test_whoever_must_tell_of_an_outage_has_told(outage: Outage) -> None:
    """In the table: something with its seconds; the expected alert is there, and no other calls a person."""
    cells = cells_of(DOCUMENT.read_text())[outage.title]
    for teller in outage.tellers:
        assert re.match(r"\d+ s: ", cells[teller])
    called = set(re.findall(r"(\w+) \(page\)", cells[Teller.ALERT]))
    assert called <= {outage.alert} | outage.may_page
    assert (outage.alert or "") in cells[Teller.ALERT]


def test_every_alert_that_pages_has_a_recorded_outage() -> None:
    """tests/monitoring gives the recorded series to promtool, with the rules that are shipped."""
    recorded = yaml.safe_load(RECORDED.read_text())["tests"]
    fired = {each["alertname"] for test in recorded for each in test["alert_rule_test"] if each["exp_alerts"]}
    assert fired == {alert for alert, severity in SEVERITIES.items() if severity == "page"}
    assert len(recorded) == sum(SEVERITIES.get(outage.alert or "") == "page" for outage in OUTAGES)


def test_rows_of_a_run_replace_those_of_the_same_outages() -> None:
    """The other rows stay, all in the order of the list; what is around the table stays too."""
    first, second = OUTAGES[0].title, OUTAGES[1].title
    text = into(f"before\n{BEGIN}\n{END}\nafter", {second: f"| {second} | old |"})
    text = into(text, {first: f"| {first} | new |"})
    assert titles(text) == [first, second]
    assert text.startswith("before\n")
    assert text.endswith("\nafter")
    with pytest.raises(ValueError, match="no place for the table"):
        into("no markers", {})


def test_samples_are_written_as_promtool_reads_them() -> None:
    """Equal values are one word; a series that ends is stale, one that has not begun is missing."""
    assert notation([None, None, 1.0, 1.0, 0.5, None, None, -3.0]) == "_x2 1x1 0.5 stale _x1 -3"
