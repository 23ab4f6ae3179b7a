"""Client quotas that may hold for a worker."""

import pytest
from aiokafka.client import AIOKafkaClient

from streams.commands.doctor.findings import Severity
from streams.commands.doctor.quotas import Quota, check_quotas, quotas_of
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import happens, set_quota

OWN = Quota({"user": "worker"}, "producer_byte_rate", 20_000.0)
DEFAULT = Quota({"user": None, "client-id": None}, "request_percentage", 2.5)
OF_OTHERS = [
    Quota({"user": "job"}, "producer_byte_rate", 1.0),
    Quota({"client-id": "job"}, "producer_byte_rate", 1.0),
    Quota({"user": "worker", "client-id": "job"}, "producer_byte_rate", 1.0),
    Quota({"user": None}, "controller_mutation_rate", 1.0),
    Quota({"ip": None}, "connection_creation_rate", 1.0),
]


def test_a_quota_that_may_hold_for_a_worker_is_a_note() -> None:
    """Its own user's and the defaults, in words; quotas of others, or of other things, are left out."""
    found = check_quotas([OWN, *OF_OTHERS, DEFAULT], "worker", late=False)
    assert [(each.level, each.text) for each in found] == [
        (Severity.NOTE, "a client may write 20,000 bytes a second (producer_byte_rate of user worker)"),
        (
            Severity.NOTE,
            "a client may take 2.5 % of a broker's threads (request_percentage of client-id (default), user"
            " (default))",
        ),
    ]
    assert check_quotas([OWN], None, late=False) == []


def test_a_quota_while_actions_wait_for_long_is_a_problem() -> None:
    """It may be what they wait for."""
    (found,) = check_quotas([OWN], "worker", late=True)
    assert found.level is Severity.PROBLEM
    assert found.remedy


@pytest.mark.kafka
async def test_a_cluster_tells_its_quotas(kafka: EmbeddedKafka) -> None:
    """Each with its kind of client and name."""
    set_quota(kafka.bootstrap_servers, "client-id", "quota-test", 5e6)
    expected = Quota({"client-id": "quota-test"}, "producer_byte_rate", 5e6)
    client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        await client.bootstrap()

        async def told() -> bool:
            return expected in await quotas_of(client)

        await happens(told)  # a broker hears of it a moment after the controller has written it
    finally:
        await client.close()
