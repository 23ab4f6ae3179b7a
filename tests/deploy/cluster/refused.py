"""Bad changes that a cluster must refuse, for each control of the restricted profile and for each kind."""

from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
Change = Callable[[Document], None]


def put(path: str, value: object) -> Change:
    """Return a change that sets the field at a path; steps are names, or numbers in lists."""

    def change(document: Document) -> None:
        *steps, last = _steps(path)
        _place(document, steps)[last] = value

    return change


def without(path: str) -> Change:
    """Return a change that takes a field away."""

    def change(document: Document) -> None:
        *steps, last = _steps(path)
        del _place(document, steps)[last]

    return change


def both(first: Change, second: Change) -> Change:
    """Return a change that makes two."""

    def change(document: Document) -> None:
        first(document)
        second(document)

    return change


def _steps(path: str) -> list[Any]:
    return [int(step) if step.isdigit() else step for step in path.split("/")]


def _place(document: Document, steps: list[Any]) -> Any:
    """Return what is there; what has no name yet is made."""
    place: Any = document
    for step in steps:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    return place


_POD = "spec/securityContext"
_CONTAINER = "spec/containers/0/securityContext"
#: By a control of the restricted profile, as its refusal names it: changes of a pod that break it.
PODS: dict[str, list[Change]] = {
    # Kubernetes itself refuses the first without the second.
    "privileged": [
        both(put(f"{_CONTAINER}/privileged", True), put(f"{_CONTAINER}/allowPrivilegeEscalation", True))
    ],
    "allowPrivilegeEscalation != false": [
        put(f"{_CONTAINER}/allowPrivilegeEscalation", True),
        without(f"{_CONTAINER}/allowPrivilegeEscalation"),
    ],
    "unrestricted capabilities": [
        without(f"{_CONTAINER}/capabilities"),
        put(f"{_CONTAINER}/capabilities", {"drop": ["NET_RAW"]}),
        put(f"{_CONTAINER}/capabilities", {"drop": ["ALL"], "add": ["SYS_TIME"]}),
    ],
    "runAsNonRoot != true": [without(f"{_POD}/runAsNonRoot"), put(f"{_CONTAINER}/runAsNonRoot", False)],
    "runAsUser=0": [put(f"{_POD}/runAsUser", 0), put(f"{_CONTAINER}/runAsUser", 0)],
    "seccompProfile": [
        without(f"{_POD}/seccompProfile"),
        put(f"{_POD}/seccompProfile", {"type": "Unconfined"}),
    ],
    "host namespaces": [put(f"spec/{name}", True) for name in ("hostNetwork", "hostPID", "hostIPC")],
    "restricted volume types": [put("spec/volumes/0", {"name": "organisations", "hostPath": {"path": "/"}})],
    "hostPort": [put("spec/containers/0/ports/0/hostPort", 6066)],
    "forbidden sysctls": [put(f"{_POD}/sysctls", [{"name": "kernel.msgmax", "value": "1"}])],
    "seLinuxOptions": [put(f"{_POD}/seLinuxOptions", {"type": "spc_t"})],
    "forbidden AppArmor profile": [put(f"{_POD}/appArmorProfile", {"type": "Unconfined"})],
}
#: By kind: a field, and a value that it must not have.
VALUES: dict[str, tuple[str, object]] = {
    "ConfigMap": ("data/STREAMS_DRAIN_GRACE", 10),
    "KafkaTopic": ("spec/partitions", 0),
    "KafkaUser": ("spec/authorization/acls/0/operations", ["Reed"]),
    "NetworkPolicy": ("spec/policyTypes", ["Sideways"]),
    "PodDisruptionBudget": ("spec/minAvailable", 1),
    "PrometheusRule": ("spec/groups/0/rules/0/for", "5 minutes"),
    "ScaledObject": ("spec/maxReplicaCount", "many"),
    "Service": ("spec/ports/0/port", 70000),
    "ServiceAccount": ("automountServiceAccountToken", "no"),
    "ServiceMonitor": ("spec/endpoints/0/interval", "soon"),
    "StatefulSet": ("spec/template/metadata/labels", {"app.kubernetes.io/name": "another"}),
    "TriggerAuthentication": ("spec/secretTargetRef/0/key", 1),
}
