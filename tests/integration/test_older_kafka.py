"""What a worker promises, on the oldest Kafka that the documents name."""

from collections.abc import Iterator
from functools import partial

import pytest

from streams.sandbox.kafka import EmbeddedKafka, EmbeddedKafkaUnavailable
from tests.integration import test_kill, test_strange_records
from tests.integration.steps import Make

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

VERSION = "3.9.1"


@pytest.fixture(scope="module")
def older() -> Iterator[EmbeddedKafka]:
    """One broker of that version; its jars are downloaded once."""
    cluster = EmbeddedKafka(version=VERSION)
    try:
        cluster.start()
    except EmbeddedKafkaUnavailable as exc:
        pytest.skip(str(exc))
    yield cluster
    cluster.stop()


async def test_kill_9_loses_and_doubles_nothing_there(installation: Make, older: EmbeddedKafka) -> None:
    """Transactions, fencing and commit metadata do what they do on the newest version."""
    await test_kill.test_kill_9_in_mid_batch_loses_and_doubles_nothing(partial(installation, older))


async def test_a_compacted_dead_letter_topic_stops_nobody_there(
    installation: Make, older: EmbeddedKafka
) -> None:
    """The broker refuses a record for its content with the same error, so that it changes its form."""
    refused = test_strange_records.test_a_compacted_dead_letter_topic_without_a_key_stops_nobody
    await refused(partial(installation, older))
