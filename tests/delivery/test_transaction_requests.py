"""Requests that aiokafka does not have, as bytes; a real broker takes them in test_kafka_transaction.py."""

import pytest
from aiokafka.errors import IncompatibleBrokerVersion

from streams.delivery.transaction_protocol import features_request


@pytest.mark.parametrize("versions", [{}, {18: (0, 2)}])
def test_a_broker_that_does_not_know_a_request_is_not_sent_it(versions: dict[int, tuple[int, int]]) -> None:
    """Brokers before Kafka 2.4 know no features: version 1 of the protocol is spoken to them."""
    with pytest.raises(IncompatibleBrokerVersion):
        features_request().prepare(versions)
