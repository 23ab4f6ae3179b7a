"""One bad change for each policy: a policy that lets it pass checks nothing."""

import copy
from collections.abc import Callable
from typing import Any

from tests.deploy import policies

Document = dict[str, Any]


def _set(kind: str, path: str, value: object, name: str = "") -> Callable[[list[Document]], None]:
    def change(documents: list[Document]) -> None:
        found = policies.of_kind(documents, kind)
        place: Any = next(each for each in found if name in ("", each["metadata"]["name"]))
        *steps, last = path.split("/")
        for step in steps:
            place = place[int(step)] if step.isdigit() else place[step]
        place[last] = value

    return change


_POD = "spec/template/spec"
_WORKER = f"{_POD}/containers/0"
#: The policies that are checked, each with a bad change.
BAD: dict[policies.Policy, Callable[[list[Document]], None]] = {
    policies.no_root: _set("StatefulSet", f"{_POD}/securityContext", {"runAsUser": 0}),
    policies.restricted: _set("StatefulSet", f"{_WORKER}/securityContext", {"privileged": True}),
    policies.no_token: _set("StatefulSet", f"{_POD}/automountServiceAccountToken", True),
    policies.exact_images: _set("StatefulSet", f"{_WORKER}/image", "confirmation-streams:latest"),
    policies.probes: _set("StatefulSet", f"{_WORKER}/livenessProbe", {"httpGet": {"path": "/", "port": 80}}),
    policies.resources: _set("StatefulSet", f"{_WORKER}/resources", {"requests": {"cpu": 1}}),
    policies.disruption_budget: _set("PodDisruptionBudget", "spec/maxUnavailable", 0),
    policies.time_to_drain: _set("StatefulSet", f"{_POD}/terminationGracePeriodSeconds", 5),
    policies.static_membership: _set("StatefulSet", f"{_WORKER}/env", []),
    policies.spread: _set("StatefulSet", f"{_POD}/topologySpreadConstraints", []),
    policies.no_secret_in_clear: _set("ConfigMap", "data/STREAMS_LOOKUP_PASSWORD", "hunter2"),
    policies.known_settings: _set("ConfigMap", "data/STREAMS_DRAIN_GRACEE", "10"),
    policies.capped_scaling: _set("ScaledObject", "spec/maxReplicaCount", 9),
    policies.closed_network: _set("NetworkPolicy", "spec/egress", [{}]),
    policies.published_addresses: _set("StatefulSet", f"{_WORKER}/env", []),
    policies.workers_ask_each_other: _set("NetworkPolicy", "spec/egress", [], "confirmation-streams"),
    policies.least_rights: _set("KafkaUser", "spec/authorization/acls/0/operations", ["All"]),
}


def uncaught(policy: policies.Policy, documents: list[Document]) -> bool:
    """Whether `policy` lets its bad change of these `documents` pass."""
    bad = copy.deepcopy(documents)
    BAD[policy](bad)
    return not list(policy(bad))
