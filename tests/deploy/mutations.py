"""Bad changes for each policy: a policy that lets one of them pass checks nothing."""

import copy
from collections.abc import Callable
from typing import Any

from tests.deploy import policies

Document = dict[str, Any]
Change = Callable[[list[Document]], None]


def _set(kind: str, path: str, value: object, name: str | None = None) -> Change:
    """Change the first document of a kind, or the first whose name begins with `name`."""

    def change(documents: list[Document]) -> None:
        place: Any = next(
            each
            for each in policies.of_kind(documents, kind)
            if each["metadata"]["name"].startswith(name or "")
        )
        *steps, last = path.split("/")
        for step in steps:
            place = place[int(step)] if step.isdigit() else place[step]
        place[last] = value

    return change


_POD = "spec/template/spec"
_CONTAINER = f"{_POD}/containers/0"
_EXAMPLES = ("confirmation-mailer", "confirmation-bridge")


def _pods(path: str, value: object) -> tuple[Change, ...]:
    """Change the worker's pod, or the mailer's, or the bridge's."""
    examples = (_set("Deployment", path, value, name) for name in _EXAMPLES)
    return (_set("StatefulSet", path, value), *examples)


#: The policies that are checked, each with its bad changes.
BAD: dict[policies.Policy, tuple[Change, ...]] = {
    policies.no_root: _pods(f"{_POD}/securityContext", {"runAsUser": 0}),
    policies.restricted: _pods(f"{_CONTAINER}/securityContext", {"privileged": True}),
    policies.no_token: _pods(f"{_POD}/automountServiceAccountToken", True),
    policies.exact_images: _pods(f"{_CONTAINER}/image", "confirmation-streams:latest"),
    policies.probes: _pods(f"{_CONTAINER}/livenessProbe", {"httpGet": {"path": "/", "port": 80}}),
    policies.resources: _pods(f"{_CONTAINER}/resources", {"requests": {"cpu": 1}}),
    policies.disruption_budget: (_set("PodDisruptionBudget", "spec/maxUnavailable", 0),),
    policies.time_to_drain: _pods(f"{_POD}/terminationGracePeriodSeconds", 5),
    policies.static_membership: (_set("StatefulSet", f"{_CONTAINER}/env", []),),
    policies.spread: _pods(f"{_POD}/topologySpreadConstraints", []),
    policies.no_secret_in_clear: (
        _set("ConfigMap", "data/STREAMS_LOOKUP_PASSWORD", "hunter2"),
        _set("ConfigMap", "data/MAILER_LINK_SECRET", "hunter2", "confirmation-mailer"),
        _set("ConfigMap", "data/BRIDGE_AMQP_URL", "amqps://proca:hunter2@mq/", "confirmation-bridge"),
    ),
    policies.known_settings: (
        _set("ConfigMap", "data/STREAMS_DRAIN_GRACEE", "10", "confirmation-streams"),
        _set("ConfigMap", "data/MAILER_SMPT_HOST", "mail", "confirmation-mailer"),
        _set("ConfigMap", "data/BRIDGE_ORGANISATIONS", "rivers", "confirmation-bridge"),
    ),
    policies.capped_scaling: (_set("ScaledObject", "spec/maxReplicaCount", 9),),
    policies.closed_network: (_set("NetworkPolicy", "spec/egress", [{}]),),
    policies.published_addresses: (_set("StatefulSet", f"{_CONTAINER}/env", []),),
    policies.workers_ask_each_other: (
        _set("NetworkPolicy", "spec/egress", [], "confirmation-streams-workers"),
    ),
    policies.least_rights: (_set("KafkaUser", "spec/authorization/acls/0/operations", ["All"]),),
}


def uncaught(policy: policies.Policy, documents: list[Document]) -> bool:
    """Whether `policy` lets one of its bad changes of these `documents` pass."""
    for change in BAD[policy]:
        bad = copy.deepcopy(documents)
        change(bad)
        if not list(policy(bad)):
            return True
    return False
