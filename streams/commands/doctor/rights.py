"""What the brokers let this user do."""

from streams.commands.doctor.findings import Finding, ok, problem
from streams.commands.installation import Installation
from streams.kafka import authorization
from streams.kafka.acls import least
from streams.kafka.topics import administering

CHECK = "rights"


async def check_rights(installation: Installation) -> list[Finding]:
    """May this user do what a worker does? Raises KafkaError."""
    async with administering(installation.connection) as admin:
        lacking = await authorization.missing(admin, least(installation.names, installation.group))
    if not lacking:
        return [ok(CHECK, "nothing that a worker needs is denied to this user")]
    return [problem(CHECK, authorization.sentence(lacking), "no worker with these settings starts")]
