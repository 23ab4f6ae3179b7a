"""The least that a worker, and who works beside it, must be allowed at the brokers. By the settings; pure.

What each request needs is in Kafka's documentation under "Authorization primitives" ("Protocol privileges").
Read and Write imply Describe, and Write on a transactional.id implies Describe on it, so Describe is listed
only where neither of them is needed: taking any line of this away makes something fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote
from typing import Literal, NamedTuple

from streams.kafka.topics import TopicNames

Resource = Literal["topic", "group", "transactionalId"]
Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]


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
    topic = _topic
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


def of_producer(names: TopicNames) -> tuple[Acl, ...]:
    """Return what the platform needs that writes the actions."""
    return (_topic(names.actions, "Write", "the campaign actions"),)


def of_crm(names: TopicNames) -> tuple[Acl, ...]:
    """Return what a CRM needs that writes the statuses."""
    return (_topic(names.statuses, "Write", "who is a subscriber"),)


def of_mailer(names: TopicNames, group: str) -> tuple[Acl, ...]:
    """Return what a mailer needs whose consumer group is `group`, and whose dead letters have a topic."""
    return (
        _topic(names.emails, "Read", "the confirmation emails, and the offset in them"),
        _topic(f"{names.emails}.dlq", "Write", "records from which no letter can be made"),
        Acl("group", group, "literal", "Read", "membership, and the committed offsets"),
    )


def of_auditor(names: TopicNames, group: str, retries: str) -> tuple[Acl, ...]:
    """Return what who audits, traces and lists dead letters needs; it may change nothing.

    Args:
        names: of the topics.
        group: of the workers.
        retries: the group whose offsets tell which dead letters have been retried.
    """
    read = [(names.actions, "the campaign actions"), (names.emails, "their emails")]
    read += [(names.dead_letters, "actions from which no email can be made")]
    read += [(names.rekeyed, "actions on their way to their supporter's partition")]
    read += [(name, "which actions had their letter shortly before") for name in (names.marks,) if name]
    return (
        *(_topic(name, "Read", why) for name, why in read),
        _topic(names.emails, "DescribeConfigs", "whether it forgets emails"),
        *(_topic(name, "DescribeConfigs", "for how long it is kept") for name in (names.marks,) if name),
        Acl("group", group, "literal", "Describe", "which actions are settled"),
        Acl("group", retries, "literal", "Describe", "which dead letters have been retried"),
    )


def _topic(name: str, operation: Operation, why: str) -> Acl:
    return Acl("topic", name, "literal", operation, why)


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
