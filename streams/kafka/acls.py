"""The least that a worker must be allowed at the brokers, by its settings. Pure.

What each request needs is in Kafka's documentation under "Authorization primitives" ("Protocol privileges").
Read and Write imply Describe, and Write on a transactional.id implies Describe on it, so Describe is never
listed: taking any line of this away makes something fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote
from typing import Literal, NamedTuple

from streams.kafka.topics import TopicNames

Resource = Literal["topic", "group", "transactionalId"]
Operation = Literal["Read", "Write", "Create", "DescribeConfigs"]


class Acl(NamedTuple):
    """One right."""

    resource: Resource
    name: str
    pattern: Literal["literal", "prefix"]  # what a name stands for
    operation: Operation
    why: str


def least(names: TopicNames, group: str) -> tuple[Acl, ...]:
    """Return what a worker cannot do without, where its topics have been made for it."""
    size, marks = "how large a record may be", "which letters were written lately"

    def topic(name: str, operation: Operation, why: str) -> Acl:
        return Acl("topic", name, "literal", operation, why)

    return (
        topic(names.actions, "Read", "the campaign actions, and the offset in them"),
        topic(names.statuses, "Read", "who is a subscriber"),
        topic(names.emails, "Write", "the confirmation emails"),
        topic(names.emails, "DescribeConfigs", size),
        topic(names.dead_letters, "Write", "actions from which no email can be made"),
        topic(names.dead_letters, "DescribeConfigs", size),
        topic(names.rekeyed, "Read", "actions on their way to their supporter's partition"),
        topic(names.rekeyed, "Write", "actions on their way to their supporter's partition"),
        topic(names.rekeyed, "DescribeConfigs", size),
        *(
            acl
            for name in filter(None, [names.marks])
            for acl in (
                topic(name, "Read", marks),
                topic(name, "Write", marks),
                topic(name, "DescribeConfigs", size),
            )
        ),
        topic(names.changelog, "Read", "the table, at the start"),
        topic(names.changelog, "Write", "the table"),
        Acl("group", group, "literal", "Read", "membership, and the committed offsets"),
        *(
            # As streams.delivery.kafka_transaction names them: group, topic, partition.
            Acl("transactionalId", f"{group}-{name}-", "prefix", "Write", "exactly once")
            for name in (names.actions, names.rekeyed)
        ),
    )


def to_make_topics(names: TopicNames) -> tuple[Acl, ...]:
    """Return what a worker needs in addition, where it shall make topics that are missing."""
    return tuple(Acl("topic", name, "literal", "Create", "a topic that is missing") for name in names.all)


#: What Kafka's own tool calls them.
_OPTIONS = {"topic": "--topic", "group": "--group", "transactionalId": "--transactional-id"}
_PATTERNS = {"literal": "literal", "prefix": "prefixed"}


def commands(acls: Iterable[Acl], principal: str) -> list[str]:
    """Return command lines of Kafka's own tool, one for each resource; the shell takes them as they are.

    Args:
        acls: what is to be allowed.
        principal: to whom, as the brokers name it, e.g. ``User:confirmation-streams``.
    """
    return [
        'kafka-acls.sh --bootstrap-server "$BROKERS" --command-config admin.properties --add'
        f" --allow-principal {quote(principal)}"
        f"{''.join(f' --operation {operation}' for operation in operations)}"
        f" {_OPTIONS[resource]} {name} --resource-pattern-type {_PATTERNS[pattern]}"
        for (resource, name, pattern), operations in _by_resource(acls)
    ]


def strimzi(acls: Iterable[Acl]) -> list[str]:
    """Return the entries of ``spec.authorization.acls`` of a Strimzi KafkaUser, lines of YAML."""
    return [
        f"- resource: {{type: {resource}, name: {name}, patternType: {pattern}}}\n"
        f"  operations: [{', '.join(operations)}]"
        for (resource, name, pattern), operations in _by_resource(acls)
    ]


def _by_resource(acls: Iterable[Acl]) -> list[tuple[tuple[Resource, str, str], list[Operation]]]:
    found: dict[tuple[Resource, str, str], list[Operation]] = {}
    for acl in acls:
        found.setdefault((acl.resource, acl.name, acl.pattern), []).append(acl.operation)
    return list(found.items())
