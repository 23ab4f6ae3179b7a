"""Client quotas of the cluster (KIP-13) that may hold for a worker: by one, a broker slows clients down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NoError, for_code

from streams.commands.doctor.findings import Finding, note, problem
from streams.commands.doctor.wire import DescribeClientQuotas

CHECK = "quotas"
_MEANINGS = {
    "producer_byte_rate": "write {:,.0f} bytes a second",
    "consumer_byte_rate": "read {:,.0f} bytes a second",
    "request_percentage": "take {:g} % of a broker's threads",
}


class Quota(NamedTuple):
    """One quota, and for whom it is: by kind of entity (user, client-id) a name, or None for the default."""

    entity: Mapping[str, str | None]
    name: str
    value: float


async def quotas_of(client: AIOKafkaClient) -> list[Quota]:
    """Return the cluster's client quotas.

    Raises:
        KafkaError: the cluster does not tell, or may not tell us.
        NotImplementedError: the broker is older than Kafka 2.6.
    """
    response: Any = await client.send(client.get_random_node(), DescribeClientQuotas())
    if (error := for_code(response.error_code)) is not NoError:
        raise error
    return [
        Quota(dict(entity), name, value)
        for entity, values in response.entries or ()
        for name, value in values
    ]


def check_quotas(quotas: Sequence[Quota], user: str | None, late: bool) -> list[Finding]:
    """Tell of the quotas that may hold for a worker. Pure.

    Args:
        quotas: of the cluster.
        user: by which name a worker comes; None: it has none, or it is not known.
        late: whether actions have waited for long.
    """
    findings = []
    for entity, name, value in quotas:
        if name not in _MEANINGS or any(
            each is not None and (kind != "user" or each != user) for kind, each in entity.items()
        ):
            continue
        whom = ", ".join(f"{kind} {each or '(default)'}" for kind, each in sorted(entity.items()))
        text = f"a client may {_MEANINGS[name].format(value)} ({name} of {whom})"
        remedy = "the cluster's owner can raise it, or give the workers' user one of its own"
        if late:
            findings.append(problem(CHECK, f"{text}, and actions have waited for long", remedy))
        else:
            findings.append(note(CHECK, text, remedy))
    return findings
