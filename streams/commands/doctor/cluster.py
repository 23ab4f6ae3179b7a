"""What must be so before any worker starts: brokers that answer, rights, and topics that fit together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
)

from streams.commands.doctor import layout
from streams.commands.doctor.brokers import check_brokers
from streams.commands.doctor.findings import Finding, note, ok, problem
from streams.commands.installation import Described, Installation, describe
from streams.kafka import authorization
from streams.kafka.acls import least
from streams.kafka.connection_check import no_access
from streams.kafka.topics import administering

#: Answers that say nothing of Kafka's health: this user may not ask, or the broker is too old to be asked.
_NOT_TOLD = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
)


class Cluster(NamedTuple):
    """What was found; `client` and `described` are None where Kafka lets nobody look."""

    findings: list[Finding]
    client: AIOKafkaClient | None = None
    described: Described | None = None


@asynccontextmanager
async def looked_at(
    installation: Installation, duplicate_window: float, begins: Callable[[str], None]
) -> AsyncIterator[Cluster]:
    """Look at brokers, rights and topics; the client is closed in the end.

    Args:
        installation: whose Kafka and topics.
        duplicate_window: of its workers, in seconds.
        begins: is told the name of each check when it begins.
    """
    begins("brokers")
    connection = installation.connection
    client = AIOKafkaClient(**connection)
    try:
        try:
            await client.bootstrap()
        except (KafkaError, OSError) as error:
            yield Cluster([await _unreachable(installation, error)])
            return
        await client.fetch_all_metadata()
        findings = await tried("brokers", check_brokers(client))
        begins("rights")
        findings += await tried("rights", check_rights(installation))
        begins("topics")
        try:
            described = await describe(installation)
        except KafkaError as error:
            found = problem(layout.CHECK, f"cannot be described ({type(error).__name__})", "allow it")
            yield Cluster([*findings, found], client)
            return
        findings += layout.check_layout(described, installation.names, duplicate_window)
        yield Cluster(findings, client, described)
    finally:
        await client.close()


async def _unreachable(installation: Installation, error: Exception) -> Finding:
    if (sentence := await no_access(installation.connection)) is not None:
        return problem("brokers", sentence, "mend that: no worker with these settings starts")
    return problem(
        "brokers",
        f"no broker answers at {','.join(installation.connection['bootstrap_servers'])}"
        f" ({type(error).__name__})",
        "is STREAMS_KAFKA_BOOTSTRAP_SERVERS right? is Kafka running, and reachable from here?",
    )


async def check_rights(installation: Installation) -> list[Finding]:
    """May this user do what a worker does? Raises KafkaError."""
    async with administering(installation.connection) as admin:
        lacking = await authorization.missing(admin, least(installation.names, installation.group))
    if not lacking:
        return [ok("rights", "nothing that a worker needs is denied to this user")]
    return [problem("rights", authorization.sentence(lacking), "no worker with these settings starts")]


async def tried(check: str, work: Awaitable[list[Finding]]) -> list[Finding]:
    """Return what a check finds, or that it cannot look: a problem, unless Kafka may not tell this user."""
    try:
        return await work
    except _NOT_TOLD as error:
        return [note(check, f"cannot be looked at ({type(error).__name__})", "give this user the right to")]
    except (KafkaError, TimeoutError) as error:  # what nobody can see may be anything
        return [problem(check, f"cannot be looked at ({type(error).__name__})", "is Kafka well? try again")]
