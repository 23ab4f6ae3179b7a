"""The alert rules: each fires when it should and else not, asks for what exists, and is in the runbook."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from streams.__main__ import main
from streams.observability.metric_catalogue import AUDIT_CATALOGUE, CATALOGUE
from streams.settings.load import load_settings
from tests.docs.commands import commands
from tests.monitoring.mutants import asked_of_mutants, needed_by, with_mutants
from tests.monitoring.queries import ROOT, selectors, series_of
from tests.tools import debian_tool

FOLDER = ROOT / "monitoring/rules"
SHIPPED = FOLDER / "confirmation-streams.rules.yaml"
TESTS = sorted((FOLDER / "tests").glob("*.yaml"))
GROUPS = yaml.safe_load(SHIPPED.read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDS = {rule["record"] for rule in RULES if "record" in rule}
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", RUNBOOK, re.MULTILINE))

LABELS = {
    f"{each.name}{suffix}": {*each.labels, *(["le"] if suffix == "_bucket" else [])}
    for each in (*CATALOGUE, *AUDIT_CATALOGUE)
    for suffix in series_of(each.kind)
}
#: The example mailer's, which tests/mailer/test_watch.py sees.
LABELS |= {"mailer_ready": set(), "mailer_oldest_letter_age_seconds": set()}
#: The example bridge's, which tests/proca/test_bridge.py sees.
LABELS |= {"bridge_ready": {"topic"}, "bridge_messages_too_large_total": {"topic"}}
#: What Prometheus adds.
TARGET = {"job", "namespace", "instance"}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = debian_tool("promtool", "prometheus")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120)


def test_promtool_accepts_the_rules() -> None:
    """Syntax, templates and names are right, and no rule stands there twice."""
    done = promtool("check", "rules", "--lint-fatal", SHIPPED)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_the_tests_would_notice_if_not(tmp_path: Path) -> None:
    """On the series of the alert tests each alert does what is asked, and none with a mistake in it does."""
    files, mutants = [], set()
    for path in TESTS:
        document = yaml.safe_load(path.read_text())
        assert document["rule_files"] == [f"../{SHIPPED.name}"]
        groups, names = with_mutants(needed_by(document, GROUPS))
        mutants |= {name for of_alert in names.values() for name in of_alert}
        (tmp_path / f"rules-{path.name}").write_text(yaml.safe_dump({"groups": groups}))
        files.append(tmp_path / path.name)
        asked = asked_of_mutants(document, names) | {"rule_files": [f"rules-{path.name}"]}
        files[-1].write_text(yaml.safe_dump(asked))
    done = promtool("test", "rules", *files)
    printed = done.stdout + done.stderr
    failed = set(re.findall(r"alertname: (\w+), time", printed))
    assert not failed & ALERTS.keys(), printed
    assert "expr:" not in printed, "a recording rule has another value"
    assert len(mutants) > 2 * len(ALERTS)
    assert mutants - failed == set(), "are as good as what is shipped"


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_seen_to_fire_and_not_to_fire(alert: str) -> None:
    """The alert tests have both for it."""
    asked = [
        bool(each["exp_alerts"])
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for each in test.get("alert_rule_test", [])
        if each["alertname"] == alert
    ]
    assert {*asked} == {True, False}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_what_is_shown(rule: dict[str, Any]) -> None:
    """Each metric is in the catalogue with the labels that are matched, or is recorded by another rule."""
    found = selectors(rule["expr"])
    assert found
    for selector in found:
        assert selector.name in LABELS or selector.name in RECORDS
        matched = {matcher.name for matcher in selector.matchers.matchers}
        assert matched <= LABELS.get(selector.name, set())
    there = TARGET.union(*(LABELS.get(selector.name, set()) for selector in found))
    for listed in re.findall(r"\b(?:by|on) ?\(([^)]*)\)", rule["expr"]):
        assert {label.strip() for label in listed.split(",")} <= there


def test_the_bound_of_the_objective_is_one_of_the_histogram_s() -> None:
    """A bucket that does not exist would make every email late."""
    from streams.observability.metrics import Histogram

    bounds = {name for name, _ in Histogram().buckets}
    assert {*re.findall(r'le="([^"]*)"', SHIPPED.read_text())} <= bounds


def test_only_symptoms_page() -> None:
    """Somebody waits for an email or letter, or an action has vanished; a dead lookup service is a ticket."""
    severities = {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
    pages = {name for name, severity in severities.items() if severity == "page"}
    assert pages == {
        "ConfirmationOldestActionWaits",
        "ConfirmationMailerWaits",
        "ConfirmationBridgeWaits",
        "ConfirmationActionsUnaccounted",
    }
    assert {*severities.values()} == {"page", "ticket"}


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_explains_itself(alert: str) -> None:
    """It has a summary, a description, and a link to its section, which answers four questions."""
    annotations = ALERTS[alert]["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"] == f"docs/runbook.md#{alert.lower()}"
    asked = re.findall(r"^\*\*([^*]+)\*\*", SECTIONS[alert], re.MULTILINE)
    assert asked == ["What it means.", "What the signer sees.", "What to look at.", "What to do."]


def test_the_runbook_has_no_section_too_many() -> None:
    """Each section is about an alert that exists, and each alert that a section points to does."""
    assert SECTIONS.keys() == ALERTS.keys()
    assert {*re.findall(r"\bConfirmation[A-Z]\w+", RUNBOOK)} == ALERTS.keys()


def test_settings_and_metrics_that_the_runbook_names_exist() -> None:
    """No STREAMS_… and no confirmation_… is misspelt."""
    known = {f"STREAMS_{name}".upper() for name in type(load_settings({})).model_fields}
    assert {*re.findall(r"\bSTREAMS_[A-Z_]+", RUNBOOK)} <= known
    assert {*re.findall(r"\bconfirmation_\w+", RUNBOOK)} <= LABELS.keys()


TYPED = [each.text for each in commands() if each.document == "docs/runbook.md"]
OURS = [
    *(text for text in TYPED if text.startswith("streams ")),
    *(f"streams {rest}" for rest in re.findall(r"-- streams ([^`\n]+)`", RUNBOOK)),
]


@pytest.mark.parametrize("text", dict.fromkeys(OURS))
def test_a_command_of_the_runbook_is_one_of_the_app_s(text: str) -> None:
    """Its options and arguments are those of the real command line."""
    words = shlex.split(text)[1:]
    command: click.Command = main
    context: click.Context | None = None
    while isinstance(command, click.Group) and words[:1] and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        context, command = click.Context(command, parent=context, info_name=name), found
    command.make_context(command.name, words, parent=context)


CLUSTER = [text for text in dict.fromkeys(TYPED) if text.startswith(("curl", "kubectl"))]


@pytest.mark.parametrize("text", CLUSTER)
def test_what_the_runbook_asks_of_a_cluster_is_there(text: str) -> None:
    """Pages are the worker's, its port is the default one, and pods are those of the stateful set."""
    words = shlex.split(text)
    settings = load_settings({})
    if words[0] == "curl":
        assert re.fullmatch(rf"http://127\.0\.0\.1:{settings.web_port}/(livez|readyz|metrics)", words[-1])
        return
    name = yaml.safe_load((ROOT / "k8s/base/stateful-set.yaml").read_text())["metadata"]["name"]
    assert words[1:3] == ["-n", "confirmation-streams"]  # which k8s/README.md has people make
    verb, *rest = words[3:]
    assert {verb} <= {"get", "describe", "exec", "logs", "top", "scale", "delete", "port-forward"}
    if verb == "port-forward":
        assert int(rest[1]) == settings.web_port
    named = [word for word in rest if word.startswith("confirmation-streams") or "/" in word]
    assert {*named} <= {f"{name}-0", f"statefulset/{name}"}


def test_compose_has_prometheus_load_the_rules(tmp_path: Path) -> None:
    """The file that Prometheus is told of is the one that compose mounts there, and it is accepted."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]
    mounts = dict(volume.split(":")[1::-1] for volume in service["volumes"] if volume.startswith("./"))
    config = yaml.safe_load((ROOT / "compose/prometheus.yml").read_text())
    assert "/etc/prometheus/prometheus.yml" in mounts
    here = []
    for file in config["rule_files"]:
        folder = next(place for place in mounts if file.startswith(f"{place}/"))
        here.append(str(ROOT / mounts[folder] / file.removeprefix(f"{folder}/")))
    assert [Path(file).resolve() for file in here] == [SHIPPED]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({**config, "rule_files": here}))
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert (done.returncode, f"{len(RULES)} rules found" in done.stdout) == (0, True), done.stderr
