"""The brokers: how many answer, and whether they are alike."""

from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from streams.commands.doctor.findings import Finding, ok, problem, warning

CHECK = "brokers"
_FETCH_WITH_ISOLATION = 4  # the version of Fetch from which on readers can wait for transactions' ends
_FETCH, _INIT_PRODUCER_ID = 1, 22


async def check_brokers(client: AIOKafkaClient) -> list[Finding]:
    """Ask every broker that the cluster names."""
    nodes = sorted(client.cluster.brokers(), key=lambda broker: broker.nodeId)
    findings = []
    supported = set()
    for broker in nodes:
        where = f"broker {broker.nodeId} at {broker.host}:{broker.port}"
        try:
            response: Any = await client.send(broker.nodeId, ApiVersionRequest())
        except KafkaError as error:
            findings.append(
                problem(
                    CHECK,
                    f"{where} does not answer ({type(error).__name__})",
                    "is it running? does that address, which the broker advertises, work from this machine?",
                )
            )
            continue
        limits = {key: highest for key, _, highest in response.api_versions}
        supported.add(frozenset(limits.items()))
        if limits.get(_FETCH, 0) < _FETCH_WITH_ISOLATION or _INIT_PRODUCER_ID not in limits:
            findings.append(
                problem(CHECK, f"{where} has no transactions", "exactly once needs Kafka 0.11 or newer")
            )
    findings.append(ok(CHECK, f"{len(nodes)} known"))
    if len(supported) > 1:
        findings.append(
            warning(CHECK, "the brokers have different versions", "finish the upgrade that is under way")
        )
    if len(nodes) == 1:
        findings.append(
            warning(
                CHECK, "there is one broker: while it is away, no email leaves", "three or more in production"
            )
        )
    return findings
