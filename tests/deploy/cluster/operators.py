"""What the operators' kinds are on a cluster: their own definitions, without the operators."""

import json

import yaml

from tests.deploy.cluster.cluster import Cluster
from tests.deploy.operator_kinds import definitions
from tests.deploy.waiting import wait_until


def install(cluster: Cluster) -> None:
    """Give the cluster every kind that k8s/ uses, and the namespace of Strimzi's Kafka."""
    whole = [document for file in definitions() for document in yaml.safe_load_all(file.read_text())]
    cluster.apply([*whole, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kafka"}}])

    def established() -> bool:
        found = json.loads(cluster.kubectl("get", "--output=json", "customresourcedefinitions"))["items"]
        conditions = [definition.get("status", {}).get("conditions", []) for definition in found]
        return all(("Established", "True") in {(c["type"], c["status"]) for c in each} for each in conditions)

    # Not kubectl's own wait: it complains where a busy server ends its watch, and goes on.
    wait_until(established, lambda: "the API server takes the operators' kinds")
