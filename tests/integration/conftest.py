"""Workers as processes, on the session's Kafka."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation


@pytest.fixture
def installation(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[..., Installation]]:
    """Make an installation: topics, group and settings of its own. Its workers are killed in the end."""
    made: list[Installation] = []

    def make(**settings: object) -> Installation:
        # Seconds. A busy machine may keep a lookup that is answered waiting for longer than the default.
        ample = {"lookup_deadline": 20, **settings}
        made.append(Installation(kafka.bootstrap_servers, unique_name("t"), tmp_path, **ample))
        return made[-1]

    yield make
    for each in made:
        each.kill_all()
