"""What a person decides, as it stands in the metadata of an offset."""

import pytest
from aiokafka import TopicPartition

from streams.delivery.commit_metadata import METADATA_CAP
from streams.delivery.decisions import acceptance_id, accepted_in, retries_in, with_accepted, with_retry
from streams.delivery.transaction import Position
from streams.kafka.acls import least
from streams.kafka.topics import TopicNames

NOTHING = Position(None, None)


def test_what_is_accepted_is_read_as_it_was_written() -> None:
    """Each topic has its own offset; the later decision about a topic takes the place of the earlier."""
    first = Position(3, with_accepted(NOTHING, "actions", 100))
    both = Position(4, with_accepted(first, "moved", 5))
    later = Position(5, with_accepted(both, "actions", 200))
    assert accepted_in(first) == {"actions": 100}
    assert accepted_in(later) == {"actions": 200, "moved": 5}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "",
        "x",
        "[]",
        "3",
        '{"accepted_before":[]}',
        '{"accepted_before":{"a":"1"}}',
        "cs1.0.",
        '{"a":1}',
    ],
)
def test_what_somebody_else_committed_accepts_nothing(metadata: str | None) -> None:
    """Any other metadata is no decision."""
    assert accepted_in(Position(0, metadata)) == {}


def test_a_retry_stands_beside_what_is_accepted() -> None:
    """Neither decision takes the other's place; a later one about the same organisation does."""
    accepted = Position(1, with_accepted(NOTHING, "actions", 100))
    one = Position(2, with_retry(accepted, 310, 1_000))
    every = Position(3, with_retry(one, None, 2_000))
    again = Position(4, with_accepted(Position(4, with_retry(every, 310, 3_000)), "moved", 5))
    assert retries_in(again) == {None: 2_000, 310: 3_000}
    assert accepted_in(again) == {"actions": 100, "moved": 5}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "x",
        "[]",
        '{"lookups_retried":3}',
        '{"lookups_retried":{"310":"1"}}',
        '{"lookups_retried":{"a":1}}',
    ],
)
def test_what_is_no_retry_retries_nothing(metadata: str | None) -> None:
    """Any other metadata is no decision."""
    assert retries_in(Position(0, metadata)) == {}


def test_thousands_of_retries_fit() -> None:
    """The latest stay, and with the longest names that can be accepted they are below the broker's limit."""
    position = Position(0, with_accepted(NOTHING, "a" * 249, 2**63 - 1))
    position = Position(0, with_accepted(position, "b" * 249, 2**63 - 1))
    for org_id in range(2**53, 2**53 + 3_000):
        position = Position(0, with_retry(position, org_id, 1_795_478_400_000 + org_id % 7_000))
    assert max(retries_in(position)) == 2**53 + 2_999
    assert len(position.metadata or "") < METADATA_CAP


def test_the_longest_names_fit() -> None:
    """The broker's limit for metadata holds two topics of 249 characters, Kafka's longest."""
    first = Position(0, with_accepted(NOTHING, "a" * 249, 2**63 - 1))
    assert len(with_accepted(first, "b" * 249, 2**63 - 1)) < METADATA_CAP


def test_the_rights_of_a_worker_cover_the_transactional_id() -> None:
    """`streams acls` allows ids that begin with group and topic, and so this one."""
    names = TopicNames("actions", "status", "emails", "dlq", "changelog", "rekeyed")
    prefixes = [acl.name for acl in least(names, "g") if acl.resource == "transactionalId"]
    for topic in (names.actions, names.rekeyed):
        assert any(acceptance_id("g", TopicPartition(topic, 3)).startswith(prefix) for prefix in prefixes), (
            topic
        )
