"""The brokers: which, how many, of which version."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.commands.doctor.findings import Finding, note, ok, problem, warning
from streams.commands.doctor.wire import ApiVersions, supported_feature

CHECK = "brokers"
#: The first ``metadata.version`` level of each release (org.apache.kafka.server.common.MetadataVersion).
_RELEASES = (
    (1, "3.0"),
    (2, "3.1"),
    (3, "3.2"),
    (4, "3.3"),
    (8, "3.4"),
    (9, "3.5"),
    (12, "3.6"),
    (15, "3.7"),
    (20, "3.8"),
    (21, "3.9"),
    (22, "4.0"),
    (26, "4.1"),
    (28, "4.2"),
)
_FETCH_WITH_ISOLATION = 4  # the version of Fetch from which on readers can wait for transactions' ends
_FETCH, _INIT_PRODUCER_ID = 1, 22


def release_of(level: int) -> str:
    """The Kafka release that supports a metadata.version `level`, as far as this program knows releases."""
    at = bisect_right(_RELEASES, level, key=lambda release: release[0])
    if at == 0:
        return "before 3.0"
    return f"{_RELEASES[at - 1][1]}{' or newer' if at == len(_RELEASES) else ''}"


async def check_brokers(client: AIOKafkaClient) -> list[Finding]:
    """Ask every broker that the cluster names."""
    nodes = sorted(client.cluster.brokers(), key=lambda broker: broker.nodeId)
    findings = []
    versions = set()
    for broker in nodes:
        where = f"broker {broker.nodeId} at {broker.host}:{broker.port}"
        try:
            response: Any = await client.send(broker.nodeId, ApiVersions())
        except NotImplementedError:
            findings.append(
                note(CHECK, f"{where} answers, and is older than Kafka 2.4: its version is not told")
            )
            continue
        except KafkaError as error:
            findings.append(
                problem(
                    CHECK,
                    f"{where} does not answer ({type(error).__name__})",
                    "is it running? does that address, which the broker advertises, work from this machine?",
                )
            )
            continue
        level = supported_feature(response, "metadata.version")
        versions.add("not told" if level is None else release_of(level))
        limits = {key: highest for key, _, highest, _ in response.api_versions}
        if limits.get(_FETCH, 0) < _FETCH_WITH_ISOLATION or _INIT_PRODUCER_ID not in limits:
            findings.append(
                problem(CHECK, f"{where} has no transactions", "exactly once needs Kafka 0.11 or newer")
            )
    findings.append(
        ok(CHECK, f"{len(nodes)} known, Kafka {' and '.join(sorted(versions)) or 'version not told'}")
    )
    if len(versions) > 1:
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
