"""k8s/ on a real API server, as ``make check-cluster`` starts it: what it takes, and what it refuses."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import policies
from tests.deploy.__main__ import COMPONENTS, with_components
from tests.deploy.cluster.cluster import Cluster
from tests.deploy.cluster.operators import install
from tests.deploy.cluster.refused import PODS, VALUES, put
from tests.deploy.kustomize import ROOT, build
from tests.deploy.mutations import BAD

Document = dict[str, Any]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
#: The overlays, and each component, with the two that it changes where its name is made of theirs.
DEPLOYED = {
    "production": "overlays/production",
    "dev": "overlays/dev",
    **{
        name: " ".join([*name.split("-"), name]) if name.endswith("-strimzi") else name for name in COMPONENTS
    },
    "all": " ".join(COMPONENTS),
}


def commands(readme: str) -> list[str]:
    """Return the commands of a README, each with the lines that continue it."""
    text = (ROOT / "k8s" / readme).read_text()
    return [
        re.sub(r"^> ", "", command, flags=re.MULTILINE)
        for command in re.findall(r"^\$ (.*(?:\n> .*)*)$", text, re.MULTILINE)
    ]


@cache
def _built(title: str) -> list[Document]:
    named = DEPLOYED[title]
    return build(ROOT / "k8s" / named) if named.startswith("overlays/") else with_components(named.split())


def documents(title: str) -> list[Document]:
    """Return what is deployed: an overlay, or the dev overlay with components."""
    return copy.deepcopy(_built(title))


def pods(deployed: list[Document]) -> Iterator[Document]:
    """Yield a pod as Kubernetes would make it for each workload."""
    for kind in ("StatefulSet", "Deployment"):
        for owner in policies.of_kind(deployed, kind):
            pod = copy.deepcopy(owner["spec"]["template"])
            claims = owner["spec"].get("volumeClaimTemplates", [])
            pod["spec"].setdefault("volumes", []).extend(
                {
                    "name": claim["metadata"]["name"],
                    "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]},
                }
                for claim in claims
            )
            metadata = {
                **pod["metadata"],
                "name": f"{owner['metadata']['name']}-0",
                "namespace": owner["metadata"]["namespace"],
            }
            yield {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": metadata}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of one test, with the operators' kinds and nothing of ours."""
    with Cluster(tmp_path) as cluster:
        install(cluster)
        yield cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of all other tests, with the production overlay applied."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as made:
        install(made)
        made.apply(documents("production"))
        yield made


def test_the_readme_s_commands_fill_an_empty_cluster(empty: Cluster) -> None:
    """In their order, with nothing to add and without a warning; what is applied again changes nothing."""
    given = {"CRM_TOKEN": "for this test only"}
    empty.environment |= given
    applied = [command for command in commands("README.md") if command.startswith("kubectl")]
    assert applied
    for command in applied:
        done = empty.run("bash", "-ec", command)
        assert (done.returncode, done.stderr) == (0, ""), command + done.stderr
    whole = ("get", "--output=json", "--kustomize", "k8s/overlays/production")
    before = json.loads(empty.kubectl(*whole))["items"]
    assert len(before) == len(documents("production"))
    assert empty.run("bash", "-ec", applied[-1]).returncode == 0
    # What kubectl says would not do: it calls changed what has fields of the server's own.
    assert json.loads(empty.kubectl(*whole))["items"] == before


def test_keda_is_added_to_a_running_installation_without_a_change_of_its_workers(empty: Cluster) -> None:
    """With the command of the component's README, their number stays; without it, there would be one."""
    with_keda = documents("production")
    before = [each for each in with_keda if not each["apiVersion"].startswith("keda.sh/")]
    (workers,) = policies.of_kind(before, "StatefulSet")
    namespace = workers["metadata"]["namespace"]
    assert "replicas" not in workers["spec"]
    said = copy.deepcopy(before)
    next(policies.of_kind(said, "StatefulSet"))["spec"]["replicas"] = 2
    empty.kubectl("apply", "--filename", "-", given=yaml.safe_dump_all(said))
    empty.kubectl("--namespace", namespace, "scale", "statefulset/confirmation-streams", "--replicas=5")

    def number(*dry_run: str) -> int:
        text = empty.kubectl(
            *("apply", "--output=json", *dry_run, "--filename", "-"), given=yaml.safe_dump(workers)
        )
        return int(json.loads(text)["spec"]["replicas"])

    assert number("--dry-run=server") == 1
    (command,) = commands("components/keda/README.md")
    done = empty.run("bash", "-eo", "pipefail", "-c", command)
    assert (done.returncode, done.stderr) == (0, "")
    assert number("--dry-run=server") == 5
    empty.kubectl("apply", "--kustomize", "k8s/overlays/production")
    assert number() == 5


@pytest.mark.parametrize("title", DEPLOYED)
def test_every_overlay_and_component_is_applied_and_stays_as_it_is(cluster: Cluster, title: str) -> None:
    """On the server's side, strictly, without a warning; applied again, nothing would change."""
    deployed = documents(title)
    text = yaml.safe_dump_all(deployed)
    # The variants of the dev overlay are applied to one namespace, one after the other.
    options = ("--server-side", "--force-conflicts", "--filename", "-")
    cluster.kubectl("apply", "--validate=strict", *options, given=text)
    cluster.kubectl("diff", *options, given=text)


def test_components_have_the_last_word_in_the_dev_overlay() -> None:
    """KEDA has the number of workers; with Strimzi the brokers are its own, and topics and users theirs."""
    deployed = documents("all")
    (workers,) = policies.of_kind(deployed, "StatefulSet")
    assert "replicas" not in workers["spec"]
    settings = {each["metadata"]["name"]: each["data"] for each in policies.of_kind(deployed, "ConfigMap")}
    brokers = {
        value
        for said in settings.values()
        for name, value in said.items()
        if name.endswith("_KAFKA_BOOTSTRAP_SERVERS")
    }
    assert brokers == {"kafka-kafka-bootstrap.kafka.svc:9093"}
    namespaces = {each["kind"]: each["metadata"].get("namespace") for each in deployed}
    assert namespaces.pop("Namespace") is None
    assert {namespaces.pop(kind) for kind in ("KafkaTopic", "KafkaUser")} == {"kafka"}
    assert {*namespaces.values()} == {"confirmation-streams-dev"}


@pytest.mark.parametrize("title", ["production", "all"])
def test_the_pods_keep_the_restricted_profile(cluster: Cluster, title: str) -> None:
    """The namespace's label enforces it, and each pod is taken."""
    deployed = documents(title)
    cluster.apply(deployed, "--force-conflicts")
    _give_default_account(cluster, deployed)
    made = list(pods(deployed))
    assert made
    for pod in made:
        cluster.kubectl("create", "--dry-run=server", "--filename", "-", given=yaml.safe_dump(pod))


@pytest.mark.parametrize(
    ("control", "change"),
    [
        pytest.param(control, change, id=f"{control}-{number}")
        for control in PODS
        for number, change in enumerate(PODS[control])
    ],
)
def test_a_pod_that_breaks_the_restricted_profile_is_refused(
    cluster: Cluster, control: str, change: Callable[[Document], None]
) -> None:
    """One change of a pod that is taken, and the refusal names the control that it breaks."""
    (pod,) = pods(documents("production"))
    change(pod)
    done = cluster.run("kubectl", "create", "--dry-run=server", "--filename", "-", given=yaml.safe_dump(pod))
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted:latest"' in done.stderr
    assert control in done.stderr


@pytest.mark.parametrize("kind", VALUES)
def test_a_misspelt_field_and_a_wrong_value_are_refused(cluster: Cluster, kind: str) -> None:
    """For every kind that is deployed, with the server's own rules and the operators' definitions."""
    right = next(policies.of_kind(documents("production"), kind))
    misspelt, wrong = copy.deepcopy(right), copy.deepcopy(right)
    field, value = VALUES[kind]
    misspelt["spek"] = {}
    put(field, value)(wrong)
    command = (
        "kubectl",
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--filename",
        "-",
    )
    assert cluster.run(*command, given=yaml.safe_dump(right)).returncode == 0
    for bad, named in ((misspelt, "spek"), (wrong, field.rpartition("/")[2])):
        done = cluster.run(*command, given=yaml.safe_dump(bad))
        assert done.returncode != 0
        assert named in done.stderr


def test_every_kind_has_its_wrong_value() -> None:
    """A kind that is added to k8s/ is added here."""
    kinds = {each["kind"] for each in documents("production")}
    assert kinds - {"Namespace"} == VALUES.keys()


def test_the_policies_hold_for_what_the_cluster_has(cluster: Cluster) -> None:
    """With every default that the server put in place, as the cluster has it."""
    deployed = documents("production")
    found = json.loads(
        cluster.kubectl("get", "--output=json", "--filename", "-", given=yaml.safe_dump_all(deployed))
    )["items"]
    assert len(found) == len(deployed)
    kept = BAD.keys() - {policies.capped_scaling}  # the server puts the number in place
    assert [sentence for policy in kept for sentence in policy(found)] == []


def _give_default_account(cluster: Cluster, deployed: list[Document]) -> None:
    """Make the service account that Kubernetes' controller gives each namespace."""
    for each in policies.of_kind(deployed, "Namespace"):
        metadata = {"name": "default", "namespace": each["metadata"]["name"]}
        cluster.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}])
