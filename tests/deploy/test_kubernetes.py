"""What can be said of k8s/ without building it; ``make check-deploy`` builds and judges everything."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.kafka.topics import TopicNames, _new
from streams.settings.load import load_settings
from tests.deploy import policies, rules
from tests.deploy.kustomize import ROOT
from tests.deploy.mutations import BAD, uncaught
from tests.deploy.validation import problem

FILES = sorted((ROOT / "k8s").rglob("*.yaml"))


def documents(*folders: str) -> list[dict[str, Any]]:
    return [
        document
        for path in FILES
        if any(path.is_relative_to(ROOT / "k8s" / folder) for folder in folders)
        for document in yaml.safe_load_all(path.read_text())
        if document["kind"] not in {"Kustomization", "Component"}
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_parses_and_fits_its_schema(path: Path) -> None:
    """Each document has the form of its kind; each kustomization names files that exist."""
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] in {"Kustomization", "Component"}:
            for name in [*document.get("resources", []), *document.get("components", [])]:
                assert (path.parent / name).exists(), name
        else:
            assert problem(document) is None


@pytest.mark.parametrize("policy", BAD, ids=lambda policy: policy.__name__)
def test_every_policy_holds_and_catches_its_bad_changes(policy: policies.Policy) -> None:
    """The documents keep each policy, and each bad change of worker, mailer or bridge is seen."""
    found = documents("base", "components")
    if policy is policies.capped_scaling:  # the component's patch takes the number away
        next(policies.of_kind(found, "StatefulSet"))["spec"].pop("replicas")
    assert list(policy(found)) == []
    assert not uncaught(policy, found)


@pytest.mark.parametrize("way", ["ingress", "egress"])
def test_workers_that_ask_each_other_need_both_ways(way: str) -> None:
    """One may ask, and the other be asked: without either, all but itself are silent."""
    found = documents("base", "components")
    (policy,) = [
        each["spec"]
        for each in policies.of_kind(found, "NetworkPolicy")
        if each["metadata"]["name"] == "confirmation-streams-workers"
    ]
    policy[way] = [rule for rule in policy[way] if "confirmation-streams" not in str(rule)]
    assert [sentence[-len(way) - 2 :] for sentence in policies.workers_ask_each_other(found)] == [f"({way})"]


def test_the_readme_s_commands_fit_an_empty_cluster() -> None:
    """Each file that they name is there, and the namespace comes before what is put into it."""
    commands = re.findall(r"^\$ (.*)$", (ROOT / "k8s/README.md").read_text(), re.MULTILINE)
    named = [path for command in commands for path in re.findall(r"\bk8s/[\w./-]+", command)]
    assert [path for path in named if not (ROOT / path).exists()] == []
    (first, *_) = [command for command in commands if command.startswith("kubectl")]
    assert re.fullmatch(r"kubectl apply -f \S+/namespace\.yaml", first)
    (namespace,) = yaml.safe_load_all((ROOT / first.split()[-1]).read_text())
    used = {name for command in commands for name in re.findall(r"kubectl -n (\S+)", command)}
    assert used == {namespace["metadata"]["name"]}


def test_keda_s_readme_takes_only_the_number_of_workers_out_of_what_was_applied() -> None:
    """Its sed command leaves the rest of the StatefulSet, so that the next apply changes nothing else."""
    (expression,) = re.findall(r"sed '(.*?)'", (ROOT / "k8s/components/keda/README.md").read_text())
    (applied,) = policies.of_kind(documents("base"), "StatefulSet")
    command = ["sed", expression]
    done = subprocess.run(command, input=yaml.safe_dump(applied), capture_output=True, text=True, check=True)
    assert applied["spec"].pop("replicas") == 2
    assert yaml.safe_load(done.stdout) == applied


def test_topics_are_those_that_a_worker_makes() -> None:
    """Strimzi's topics have the names and configurations that a worker would give them, with a window too."""
    names = TopicNames.of(load_settings({"STREAMS_DUPLICATE_WINDOW": "15m"}))
    found = {each["metadata"]["name"]: each["spec"] for each in documents("components/strimzi")}
    for name in names.all:
        config = {key: str(value) for key, value in found[name]["config"].items()}
        assert config == {"min.insync.replicas": "2", **_new(name, names, 8, 3).topic_configs}
        assert found[name]["partitions"] == load_settings({}).topic_partitions


def test_a_misspelt_field_is_found() -> None:
    """Validation is strict, for Kubernetes' own kinds and for the operators'."""
    for each in documents("base", "components"):
        each["spek"] = {}
        assert problem(each) is not None


def test_the_operator_s_rules_are_monitoring_s() -> None:
    """The PrometheusRule holds exactly the rules that the alert tests test."""
    assert rules.problem() is None
