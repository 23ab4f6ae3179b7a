"""What the operators' kinds are on a cluster: their own definitions, without the operators."""

import json
from typing import Any

import yaml

from tests.deploy.cluster.cluster import Cluster
from tests.deploy.operator_kinds import DEFINITIONS, definitions
from tests.deploy.validation import STRIMZI
from tests.deploy.waiting import wait_until


def install(cluster: Cluster) -> None:
    """Give the cluster every kind that k8s/ uses, and the namespace of Strimzi's Kafka."""
    whole = [
        document
        for name in DEFINITIONS
        for file in definitions(name)
        for document in yaml.safe_load_all(file.read_text())
    ]
    cluster.apply(
        [*whole, *_strimzi(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kafka"}}]
    )

    def established() -> bool:
        found = json.loads(cluster.kubectl("get", "--output=json", "customresourcedefinitions"))["items"]
        conditions = [definition.get("status", {}).get("conditions", []) for definition in found]
        return all(("Established", "True") in {(c["type"], c["status"]) for c in each} for each in conditions)

    # Not kubectl's own wait: it complains where a busy server ends its watch, and goes on.
    wait_until(established, lambda: "the API server takes the operators' kinds")


def _strimzi() -> list[dict[str, Any]]:
    """Definitions with what is written down of Strimzi's kinds, whose own are in no registry of packages."""
    made = []
    for name, schema in json.loads(STRIMZI.read_text()).items():
        group, version, kind = name.split("/")
        singular, plural = kind.lower(), f"{kind.lower()}s"
        made.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}"},
                "spec": {
                    "group": group,
                    "scope": "Namespaced",
                    "names": {
                        "kind": kind,
                        "listKind": f"{kind}List",
                        "singular": singular,
                        "plural": plural,
                    },
                    "versions": [
                        {
                            "name": version,
                            "served": True,
                            "storage": True,
                            "schema": {"openAPIV3Schema": _without_metadata(_structural(schema))},
                        }
                    ],
                },
            }
        )
    return made


def _without_metadata(schema: dict[str, Any]) -> dict[str, Any]:
    """Kubernetes says itself what metadata is."""
    return {**schema, "properties": {**schema["properties"], "metadata": {"type": "object"}}}


def _structural(schema: Any) -> Any:
    """Return a JSON schema in the form that Kubernetes demands; it refuses unnamed fields by itself."""
    if isinstance(schema, list):
        return [_structural(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: {name: _structural(each) for name, each in value.items()}
        if key == "properties"
        else _structural(value)
        for key, value in schema.items()
        if key != "const" and value is not False
    }
    if "const" in schema:
        kept["enum"] = [schema["const"]]
    if "enum" in kept:
        kept["type"] = "string"
    if isinstance(schema.get("type"), list):  # one of several: not to be said there
        kept = {"x-kubernetes-preserve-unknown-fields": True}
    return kept
