"""What must hold for every document that is deployed, beyond its form. Pure: documents in, sentences out."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from examples import settings as examples
from examples.mailer.settings import Settings as MailerSettings
from examples.proca.settings import Settings as BridgeSettings
from streams.settings.load import load_settings
from streams.settings.table import describe
from tests.deploy.validation import name_of

Document = dict[str, Any]
Policy = Callable[[list[Document]], Iterator[str]]

#: The settings of the examples that are deployed, with what their Secrets hold.
EXAMPLES: dict[type[examples.KafkaSettings], Mapping[str, str]] = {
    MailerSettings: {"MAILER_LINK_SECRET": "what the Secret holds"},
    BridgeSettings: {"BRIDGE_AMQP_URL": "amqps://from.the.Secret/"},
}
SECRET_NAMES = {row.name for row in describe() if row.secret} | {
    row.name for kind in EXAMPLES for row in examples.describe(kind) if row.secret
}
SECRET_TEXT = re.compile(r"(?i)(password|token|secret|api_?key)\s*[=:]\s*[\"']?[^\s\"']")


def of_kind(documents: list[Document], kind: str) -> Iterator[Document]:
    """Those of one kind."""
    return (each for each in documents if each["kind"] == kind)


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """The pod specs, each with the name of what has it."""
    for kind in ("StatefulSet", "Deployment", "Job", "DaemonSet"):
        for each in of_kind(documents, kind):
            yield name_of(each), each["spec"]["template"]["spec"]


def containers(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Every container, initial ones too."""
    for owner, pod in pods(documents):
        for each in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{owner} {each['name']}", each


def no_root(documents: list[Document]) -> Iterator[str]:
    """Pods run as a numbered user that is not root."""
    for owner, pod in pods(documents):
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{owner} may run as root"
    for owner, each in containers(documents):
        if each.get("securityContext", {}).get("runAsUser") == 0:
            yield f"{owner} runs as root"


def restricted(documents: list[Document]) -> Iterator[str]:
    """The rest of Kubernetes' restricted profile, and a read-only root."""
    for owner, pod in pods(documents):
        if pod.get("securityContext", {}).get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{owner} has no seccomp profile"
        if pod.get("hostNetwork") or pod.get("hostPID") or pod.get("hostIPC"):
            yield f"{owner} shares a namespace of its node"
        if any("hostPath" in volume for volume in pod.get("volumes", [])):
            yield f"{owner} mounts a folder of its node"
    for owner, each in containers(documents):
        context = each.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            yield f"{owner} may gain privileges"
        if context.get("capabilities", {}) != {"drop": ["ALL"]}:
            yield f"{owner} keeps capabilities"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{owner} may write to its root file system"


def no_token(documents: list[Document]) -> Iterator[str]:
    """What does not ask the Kubernetes API gets no token for it."""
    for owner, pod in pods(documents):
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{owner} gets a token"


def exact_images(documents: list[Document]) -> Iterator[str]:
    """Images have an exact tag or a digest."""
    for owner, each in containers(documents):
        if not re.search(r"(:[0-9][\w.-]*|@sha256:[0-9a-f]{64})$", each["image"]):
            yield f"{owner} has image {each['image']}"


def probes(documents: list[Document]) -> Iterator[str]:
    """Workers are watched at the pages that they have for it."""
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for owner, each in containers(documents):
        for probe, path in wanted.items():
            asked = {"scheme": "HTTP", **each.get(probe, {}).get("httpGet", {})}
            if asked != {"path": path, "port": "web", "scheme": "HTTP"}:
                yield f"{owner} has no {probe} at {path}"


def resources(documents: list[Document]) -> Iterator[str]:
    """Every container says what it needs and may use."""
    for owner, each in containers(documents):
        for side in ("requests", "limits"):
            if not {"cpu", "memory"} <= each.get("resources", {}).get(side, {}).keys():
                yield f"{owner} has no {side}"


def disruption_budget(documents: list[Document]) -> Iterator[str]:
    """A drain takes one worker at a time, and a worker that is not ready does not stop it."""
    for each in of_kind(documents, "StatefulSet"):
        budgets = [
            budget["spec"]
            for budget in of_kind(documents, "PodDisruptionBudget")
            if budget["spec"]["selector"]["matchLabels"].items()
            <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        for budget in budgets or [{}]:
            if budget.get("maxUnavailable") != 1 or budget.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
                yield f"{name_of(each)} has no fitting PodDisruptionBudget"


def time_to_drain(documents: list[Document]) -> Iterator[str]:
    """A pod that is told to stop has time for its emails and its last transaction."""
    settings = load_settings(_environment(documents))
    for owner, pod in pods(documents):
        if pod.get("terminationGracePeriodSeconds", 30) < settings.drain_grace + settings.transaction_timeout:
            yield f"{owner} is killed before it has drained"


def static_membership(documents: list[Document]) -> Iterator[str]:
    """A worker's name in the group is its pod's, its state outlives it, and all start at once."""
    name = {"name": "STREAMS_GROUP_INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    for each in of_kind(documents, "StatefulSet"):
        spec = each["spec"]
        if name not in _without_api_version(spec["template"]["spec"]["containers"][0].get("env", [])):
            yield f"{name_of(each)} does not name its members after its pods"
        if not spec.get("volumeClaimTemplates"):
            yield f"{name_of(each)} has no volume"
        if spec.get("podManagementPolicy") != "Parallel":
            yield f"{name_of(each)} starts one pod after the other"


def spread(documents: list[Document]) -> Iterator[str]:
    """Workers are spread over zones and nodes."""
    for owner, pod in pods(documents):
        keys = {each["topologyKey"] for each in pod.get("topologySpreadConstraints", [])}
        if not {"topology.kubernetes.io/zone", "kubernetes.io/hostname"} <= keys:
            yield f"{owner} is not spread"


def no_secret_in_clear(documents: list[Document]) -> Iterator[str]:
    """Secrets are referred to: none stands in a document."""
    for each in of_kind(documents, "Secret"):
        yield f"{name_of(each)} is deployed with its content"
    for each in of_kind(documents, "ConfigMap"):
        for key, text in each.get("data", {}).items():
            if key in SECRET_NAMES or SECRET_TEXT.search(text):
                yield f"{name_of(each)} has a secret in {key}"
    for owner, each in containers(documents):
        for variable in each.get("env", []):
            if "value" in variable and re.search(r"(?i)password|token|authorization|dsn", variable["name"]):
                yield f"{owner} has a secret in {variable['name']}"


def known_settings(documents: list[Document]) -> Iterator[str]:
    """Every name and value of a ConfigMap is one that the worker, the mailer or the bridge accepts."""
    try:
        load_settings(_environment(documents))
    except ValueError as error:
        yield str(error)
    for each in of_kind(documents, "ConfigMap"):
        for kind, secrets in EXAMPLES.items():
            if any(name.startswith(kind.PREFIX) for name in each.get("data", {})):
                try:
                    examples.read_settings(kind, {**secrets, **each["data"]})
                except examples.WrongSetting as error:
                    yield f"{name_of(each)}: {error}"


def capped_scaling(documents: list[Document]) -> Iterator[str]:
    """KEDA never goes to zero, never beyond the partitions, and goes down slowly."""
    partitions = min(
        (each["spec"]["partitions"] for each in of_kind(documents, "KafkaTopic")),
        default=load_settings({}).topic_partitions,
    )
    for each in of_kind(documents, "ScaledObject"):
        spec = each["spec"]
        down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        if spec["minReplicaCount"] < 1 or spec["maxReplicaCount"] > partitions:
            yield f"{name_of(each)} scales outside 1 to {partitions}"
        if down["stabilizationWindowSeconds"] < 600:
            yield f"{name_of(each)} scales down in a hurry"
        for target in of_kind(documents, "StatefulSet"):
            if "replicas" in target["spec"]:
                yield f"{name_of(target)} says how many, and so does KEDA"


def closed_network(documents: list[Document]) -> Iterator[str]:
    """With network policies, all is denied first and no rule is without ports or peers."""
    policies = [each["spec"] for each in of_kind(documents, "NetworkPolicy")]
    denies = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if policies and denies not in policies:
        yield "nothing denies all by default"
    for spec in policies:
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            if not rule.get("ports") or not (rule.get("to") or rule.get("from")):
                yield "a rule opens every port or is for everybody"


def published_addresses(documents: list[Document]) -> Iterator[str]:
    """A worker tells its group the address of its pod, at which the others ask for its page."""
    address = {"name": "STREAMS_WEB_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    for each in of_kind(documents, "StatefulSet"):
        template = each["spec"]["template"]
        if address not in _without_api_version(template["spec"]["containers"][0].get("env", [])):
            yield f"{name_of(each)} does not publish its pods' addresses"


def workers_ask_each_other(documents: list[Document]) -> Iterator[str]:
    """Where there are network policies, they let a worker ask for the page of another one."""
    for each in of_kind(documents, "StatefulSet"):
        template = each["spec"]["template"]
        policies = [
            policy["spec"]
            for policy in of_kind(documents, "NetworkPolicy")
            if policy["spec"]["podSelector"].get("matchLabels") == template["metadata"]["labels"]
        ]
        peers = {"podSelector": {"matchLabels": template["metadata"]["labels"]}}
        for way, side in (("ingress", "from"), ("egress", "to")):
            if policies and not any(
                peers in rule.get(side, []) and {"protocol": "TCP", "port": "web"} in rule["ports"]
                for policy in policies
                for rule in policy.get(way, [])
            ):
                yield f"{name_of(each)} may not ask its own workers ({way})"


def least_rights(documents: list[Document]) -> Iterator[str]:
    """A Kafka user creates, alters and deletes nothing, and has no right to what is not named."""
    for each in of_kind(documents, "KafkaUser"):
        for acl in each["spec"]["authorization"]["acls"]:
            wide = acl["resource"].get("name", "*") == "*" or acl["resource"]["type"] == "cluster"
            if wide or set(acl["operations"]) - {"Read", "Write", "Describe", "DescribeConfigs"}:
                yield f"{name_of(each)} may {acl['operations']} on {acl['resource']}"


def _environment(documents: list[Document]) -> dict[str, str]:
    """What the ConfigMap gives a worker, without the files, which are not on this machine."""
    return {
        name: text
        for each in of_kind(documents, "ConfigMap")
        for name, text in each.get("data", {}).items()
        if name.startswith("STREAMS_") and not (name.endswith("_FILE") and name in _SETTINGS)
    }


_SETTINGS = {row.name for row in describe()}


def _without_api_version(variables: list[Document]) -> list[Document]:
    for each in variables:
        each.get("valueFrom", {}).get("fieldRef", {}).pop("apiVersion", None)
    return variables
