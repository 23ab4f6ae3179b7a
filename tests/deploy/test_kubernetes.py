"""What can be said of k8s/ without building it; ``make check-deploy`` builds and judges everything."""

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
def test_every_policy_holds_and_catches_its_bad_change(policy: policies.Policy) -> None:
    """The documents keep each policy, and a bad change of them is seen."""
    found = documents("base", "components")
    if policy is policies.capped_scaling:  # the component's patch takes the number away
        next(policies.of_kind(found, "StatefulSet"))["spec"].pop("replicas")
    assert list(policy(found)) == []
    assert not uncaught(policy, found)


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
