"""Requests that aiokafka does not have, as bytes; a real broker takes them in test_kafka_transaction.py."""

from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion

from streams.delivery.transaction_protocol import Identity, ThreeRequests, features_request

PRODUCE = 0


@pytest.mark.parametrize("versions", [{}, {18: (0, 2)}])
def test_a_broker_that_does_not_know_a_request_is_not_sent_it(versions: dict[int, tuple[int, int]]) -> None:
    """Brokers before Kafka 2.4 know no features: version 1 of the protocol is spoken to them."""
    with pytest.raises(IncompatibleBrokerVersion):
        features_request().prepare(versions)


def test_a_produce_request_is_encoded_as_its_schema_says() -> None:
    """The encoder that copies each batch once gives the bytes that the protocol's schema gives."""
    who = Identity("emails-actions-0", 41, 3)
    batches: Any = [("emails", [(0, b"one"), (7, b"x" * 70_000)]), ("dead", [(300, b"")])]
    struct = ThreeRequests().produce(who, 40_000, batches).prepare({PRODUCE: (0, 12)})
    values = [struct.get_item(name) for name in struct.SCHEMA.names]
    assert struct.encode() == struct.SCHEMA.encode(values)
