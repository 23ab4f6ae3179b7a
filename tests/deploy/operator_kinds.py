"""The schemas of the operators' kinds, made from their own definitions, never by hand.

KEDA's and the Prometheus Operator's Go modules hold the definitions that a cluster is given; Strimzi's are
made by its own generator (:mod:`tests.deploy.strimzi_kinds`). ``python -m tests.deploy --write-schemas``
makes operator-kinds.json from them, so that `make test` needs neither Go nor the network.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import strimzi_kinds
from tests.deploy.go_programs import module
from tests.deploy.kustomize import FOLDER

_KEDA = "github.com/kedacore/keda/v2@v2.21.0"
#: By module in its version: the folder of its definitions, and the files there that are used.
DEFINITIONS = {
    _KEDA: (
        "config/crd/bases",
        ["keda.sh_scaledobjects.yaml", "keda.sh_triggerauthentications.yaml"],
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd",
        ["monitoring.coreos.com_servicemonitors.yaml", "monitoring.coreos.com_prometheusrules.yaml"],
    ),
}
FILE = Path(__file__).parent / "operator-kinds.json"


def made() -> str:
    """Return what operator-kinds.json must hold, a line for each kind.

    Raises:
        Exception: some definitions cannot be had.
    """
    found: dict[str, Any] = {}
    for file in definitions():
        definition = yaml.safe_load(file.read_text())["spec"]
        for version in definition["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            kind = definition["names"]["kind"]
            found[f"{definition['group']}/{version['name']}/{kind}"] = schema
    scaler = module(_KEDA, FOLDER) / "pkg/scalers/kafka_scaler.go"
    _name_the_parameters(found, scaler.read_text())
    lines = [f"{json.dumps(kind)}: {json.dumps(schema)}" for kind, schema in sorted(found.items())]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def definitions() -> list[Path]:
    """Return the files with the definitions, as a cluster is given them.

    Raises:
        Exception: some cannot be had.
    """
    of_modules = [
        module(name, FOLDER) / folder / file
        for name, (folder, files) in DEFINITIONS.items()
        for file in files
    ]
    return [*of_modules, *strimzi_kinds.definitions()]


def problem() -> str | None:
    """Return what is wrong with operator-kinds.json."""
    if FILE.exists() and FILE.read_text() == made():
        return None
    return (
        "operator-kinds.json differs from the operators' definitions: python -m tests.deploy --write-schemas"
    )


def strict(schema: Any) -> Any:
    """Return a Kubernetes schema as a JSON schema that allows no field which it does not name.

    A cluster drops such a field without a word.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: {name: strict(each) for name, each in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
        if not key.startswith("x-") and not (key == "description" and isinstance(value, str))
    }
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("anyOf", None)
        kept["type"] = ["integer", "string"]
    if "properties" in kept and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept.setdefault("additionalProperties", False)
    return kept


def _name_the_parameters(found: dict[str, Any], scaler: str) -> None:
    """Add what KEDA checks in its code only: how the parameters of its Kafka trigger are called."""

    def names(order: str) -> dict[str, list[str]]:
        return {"enum": re.findall(rf"name=(\w+),order=[\w;]*{order}", scaler)}

    scaled = found["keda.sh/v1alpha1/ScaledObject"]["properties"]["spec"]["properties"]
    trigger = scaled["triggers"]["items"]["properties"]
    trigger["type"] = {"const": "kafka"}
    trigger["metadata"]["propertyNames"] = names("triggerMetadata")
    login = found["keda.sh/v1alpha1/TriggerAuthentication"]["properties"]["spec"]["properties"]
    login["secretTargetRef"]["items"]["properties"]["parameter"] = names("authParams")
