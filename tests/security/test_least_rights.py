"""A worker with exactly the rights that ``streams acls`` lists: it works, and each of them is needed.

That taking one away makes something fail is shown by what the worker's clients do: fetch from a topic, write
to it, take an epoch, give a sign of life to the group, ask how large a record may be. It is done to every
right on the list, so there is nothing to argue for the rest.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import UnknownMemberIdError
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from streams.commands.dead_letters.retry import group_of
from streams.commands.doctor.cluster import check_rights
from streams.commands.installation import installation_of
from streams.kafka import authorization
from streams.kafka.acls import Acl, least, of_auditor, of_crm, of_producer, to_make_topics
from streams.kafka.connection_check import AccessRefused
from streams.kafka.topics import TopicNames, TopicsUnfit, ensure_topics
from streams.sandbox.worker import Installation
from streams.settings.connection import client_options
from streams.settings.load import load_settings
from streams.startup import Startup
from tests.clients import administering
from tests.integration.steps import command, ready, settled
from tests.integration.topics import action, keyed, read_count, send, status
from tests.security.broker import LIMITED, LIMITED_PASSWORD, SecureBroker, administrator

pytestmark = pytest.mark.kafka

_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactionalId": ResourceType.TRANSACTIONAL_ID,
}
_PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefix": ResourcePatternType.PREFIXED}
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}


def _fields(acl: Acl) -> tuple[Any, ...]:
    """What the admin client calls a right of the limited user."""
    resource, pattern = _RESOURCES[acl.resource], _PATTERNS[acl.pattern]
    operation = _OPERATIONS[acl.operation]
    return resource, acl.name, pattern, f"User:{LIMITED}", "*", operation, AclPermissionType.ALLOW


class Limited:
    """A SCRAM user, what it has been allowed, and an installation that it works for."""

    def __init__(self, broker: SecureBroker, name: str, folder: Path) -> None:
        self.broker = broker
        self.given = broker.settings("SASLTLS", SASL_USER=LIMITED, SASL_PASSWORD=LIMITED_PASSWORD)
        servers = self.given["KAFKA_BOOTSTRAP_SERVERS"]
        settings = {**self.given, "topic_partitions": 1, "duplicate_window": "1h"}  # all that takes rights
        self.place = Installation(servers, name, folder, **settings)
        self.settings = load_settings(self.place.environ)
        self.names = TopicNames.of(self.settings)
        self.needed = least(self.names, name)
        self.connection = client_options(self.settings)
        self._admin: AdminClient = administrator(broker)

    def allow(self, *acls: Acl) -> None:
        """Give these rights, and wait until the broker knows of them: its controller answers before that."""
        self.allow_as(*map(_fields, acls))

    def allow_as(self, *fields: tuple[Any, ...]) -> None:
        for done in self._admin.create_acls([AclBinding(*each) for each in fields]).values():
            done.result(30)
        for each in fields:
            self._wait(AclBindingFilter(*each), 1)

    def take_away(self, acl: Acl) -> None:
        """Take this right away, and wait until the broker knows of it."""
        self._delete(AclBindingFilter(*_fields(acl)), 1)

    def take_everything_away(self) -> None:
        what, operation = (ResourceType.ANY, None, ResourcePatternType.ANY), AclOperation.ANY
        self._delete(AclBindingFilter(*what, f"User:{LIMITED}", None, operation, AclPermissionType.ANY))

    def _delete(self, which: AclBindingFilter, expected: int | None = None) -> None:
        (done,) = self._admin.delete_acls([which]).values()
        deleted = len(done.result(30))
        assert expected in (None, deleted)
        self._wait(which, 0)

    def _wait(self, which: AclBindingFilter, count: int) -> None:
        """Wait until so many rights are what the broker, which judges by its own copy of them, answers."""
        deadline = time.monotonic() + 15
        while len(self._admin.describe_acls(which).result(30)) != count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    async def make_topics(self) -> None:
        async with administering(self.broker.internal) as admin:
            await ensure_topics(admin, self.names, partitions=1, replication=1)

    def startup(self) -> Startup:
        return Startup(
            connection=self.connection,
            group=self.settings.group_id,
            names=self.names,
            partitions=1,
            replication=1,
            choice=None,
        )

    def foreign(self, **more: Any) -> dict[str, Any]:
        """The same user for librdkafka."""
        return {
            "bootstrap.servers": self.given["KAFKA_BOOTSTRAP_SERVERS"],
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": self.given["KAFKA_CA_FILE"],
            "sasl.mechanism": self.given["KAFKA_SASL_MECHANISM"],
            "sasl.username": LIMITED,
            "sasl.password": LIMITED_PASSWORD,
            "log_level": 0,
            **more,
        }


# -- enough ---------------------------------------------------------------------------------------------


async def test_a_worker_works_with_exactly_these(limited: Limited) -> None:
    """Known and unknown supporters, an action in a wrong partition and garbage: all end where they should."""
    await limited.make_topics()
    limited.allow(*limited.needed)
    names, internal = limited.names, limited.broker.internal
    worker = await ready(limited.place)
    await send(internal, names.statuses, [status(1, subscribed=True), (b"?", b"garbage")])
    await asyncio.to_thread(worker.wait_counter, 2, "confirmation_statuses_total")
    # Without a key it is not where its supporter's status is, as far as anybody knows: it is re-keyed.
    unplaced = (None, keyed(action(3))[1])
    await send(internal, names.actions, [keyed(action(1)), keyed(action(2)), unplaced, (b"?", b"garbage")])
    emails = await read_count(internal, names.emails, 3)
    assert sorted(each.key for each in emails) == sorted(keyed(action(n))[0] for n in (1, 2, 3))
    variants = {each.key: dict(each.headers)["variant"] for each in emails}
    assert variants[keyed(action(1))[0]] == b"one_button"  # from the table
    assert len(await read_count(internal, names.dead_letters, 2)) == 2
    assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
    assert "uthorization" not in worker.log.read_text()


# -- and no more ------------------------------------------------------------------------------------------


def asked(limited: Limited, request: Any) -> Any:
    """Send one request to the broker, and return the response."""

    async def exchange() -> Any:
        client = AIOKafkaClient(**limited.connection)
        try:
            await client.bootstrap()
            return await client.send(1, request)
        finally:
            await client.close()

    return asyncio.run(exchange())


def fetch(limited: Limited, topic: str) -> int | None:
    """Ask for a topic's records. Not by librdkafka, which keeps a refusal of this to itself."""
    response = asked(limited, FetchRequest(0, 0, 1000, 0, [(topic, [(0, 0, 1000)])]))
    ((_, ((_, code, *_),)),) = response.topics
    return code or None


def belong(limited: Limited, group: str) -> int | None:
    """Give a sign of life to the group; librdkafka would ask for its coordinator for ever."""
    code = asked(limited, HeartbeatRequest(group, 0, "nobody")).error_code
    return None if code == UnknownMemberIdError.errno else code  # that is all that is wrong with it


def write(limited: Limited, topic: str) -> int | None:
    """Write to a topic; in a transaction or not is all the same for this right."""
    errors: list[int | None] = []
    producer = Producer(limited.foreign(**{"linger.ms": 0, "message.timeout.ms": 10_000}))
    producer.produce(
        topic,
        b"v",
        b"k",
        partition=0,
        on_delivery=lambda error, _: errors.append(error and int(error.code())),
    )
    producer.flush(10)
    return errors[0]


def open_(limited: Limited, prefix: str) -> int | None:
    """Take an epoch under a transactional.id, as a lane does before anything else."""
    producer = Producer(limited.foreign(**{"transactional.id": f"{prefix}0"}))
    try:
        producer.init_transactions(10)
    except KafkaException as error:
        return int(error.args[0].code())
    return None


def size(limited: Limited, topic: str) -> int | None:
    """Ask for max.message.bytes."""
    admin = AdminClient(limited.foreign())
    (asked,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    try:
        asked.result(10)
    except KafkaException as error:
        return int(error.args[0].code())
    return None


def settled_offsets(limited: Limited, group: str) -> int | None:
    """Ask for what a group has committed."""
    return asked(limited, OffsetFetchRequest(group, None)).error_code or None


DONE_WITH: dict[tuple[str, str], Callable[[Limited, str], int | None]] = {
    ("topic", "Read"): fetch,
    ("topic", "Write"): write,
    ("topic", "DescribeConfigs"): size,
    ("group", "Read"): belong,
    ("group", "Describe"): settled_offsets,
    ("transactionalId", "Write"): open_,
}


def user_rights(component: str) -> list[Acl]:
    """Return the rights of the KafkaUser of a component in k8s/."""
    user = Path(__file__).parents[2] / f"k8s/components/{component}/user.yaml"
    return [
        Acl(acl["resource"]["type"], acl["resource"]["name"], acl["resource"]["patternType"], operation, "")
        for acl in yaml.safe_load(user.read_text())["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    ]


async def test_each_right_is_needed(limited: Limited) -> None:
    """Without any one of them, what the worker does with it is refused; given back, it goes through again."""
    await limited.make_topics()
    await each_is_needed(limited, limited.needed)


async def each_is_needed(limited: Limited, needed: Iterable[Acl]) -> None:
    """Give all of them; then take away one after the other, try what is done with it, and give it back."""
    limited.allow(*needed)
    async with administering(**limited.connection) as admin:
        for acl in needed:
            attempt = partial(DONE_WITH[acl.resource, acl.operation], limited, acl.name)
            assert await asyncio.to_thread(attempt) is None
            limited.take_away(acl)
            assert await asyncio.to_thread(attempt) in DENIED
            # And the worker's own look at the start finds this one and no other.
            expected = [] if acl.operation == "DescribeConfigs" else [acl]
            assert await authorization.missing(admin, needed) == expected
            limited.allow(acl)


async def test_to_describe_a_group_is_not_enough(limited: Limited) -> None:
    """Its coordinator is named then, and refuses every member: the look at the start finds it missing."""
    await limited.make_topics()
    membership = next(acl for acl in limited.needed if acl.resource == "group")
    limited.allow(*limited.needed)
    only_describe = (*_fields(membership)[:5], AclOperation.DESCRIBE, AclPermissionType.ALLOW)
    limited.allow_as(only_describe)
    async with administering(**limited.connection) as admin:
        assert await authorization.missing(admin, limited.needed) == []
        limited.take_away(membership)
        assert await authorization.missing(admin, limited.needed) == [membership]


async def test_a_group_that_is_taken_from_a_running_worker_and_given_back_costs_nothing_but_time(
    limited: Limited,
) -> None:
    """It says which right on which group it lacks, as doctor does; given back, the same process goes on."""
    await limited.make_topics()
    limited.allow(*limited.needed)
    membership = next(acl for acl in limited.needed if acl.resource == "group")
    names, internal = limited.names, limited.broker.internal
    worker = await ready(limited.place)
    await send(internal, names.statuses, [status(1, subscribed=True)])
    await send(internal, names.actions, [keyed(action(1))])
    assert len(await read_count(internal, names.emails, 1)) == 1
    limited.take_away(membership)
    await send(internal, names.statuses, [status(2, subscribed=True)])
    await send(internal, names.actions, [keyed(action(2))])
    lacking = f"do not allow this user Read on group {membership.name}"
    await settled(limited.place, lambda: any(lacking in each for each in worker.problems()))
    assert worker.get("/livez")[0] == 200
    (finding,) = await check_rights(installation_of(limited.settings))
    assert (finding.level, lacking in finding.text) == ("problem", True)
    limited.allow(membership)
    assert len(await read_count(internal, names.emails, 2)) == 2
    await asyncio.to_thread(worker.wait_ready)
    assert await asyncio.to_thread(worker.stop) == 0, worker.tail()


# -- who works beside the workers --------------------------------------------------------------------------


async def test_a_producer_and_a_crm_write_one_topic_each(limited: Limited, tmp_path: Path) -> None:
    """With exactly their rights `feed` and `status` put their lines on the topics; each right is needed."""
    await limited.make_topics()
    names, internal = limited.names, limited.broker.internal
    for command_name, topic, needed, line in (
        ("feed", names.actions, of_producer(names), keyed(action(1))[1]),
        ("status", names.statuses, of_crm(names), status(1, subscribed=True)[1]),
    ):
        limited.allow(*needed)
        path = tmp_path / f"{command_name}.jsonl"
        path.write_bytes(line + b"\n")
        fed = await command(limited.place, command_name, str(path))
        assert fed.exit_code == 0, fed.output
        assert len(await read_count(internal, topic, 1)) == 1
        limited.take_everything_away()
        await each_is_needed(limited, needed)
        limited.take_everything_away()


async def test_an_auditor_reads_everything_and_changes_nothing(limited: Limited) -> None:
    """With exactly its rights it audits, traces, and lists dead letters with their marks; each is needed."""
    await limited.make_topics()
    names, internal, group = limited.names, limited.broker.internal, limited.settings.group_id
    limited.allow(*limited.needed)
    worker = await ready(limited.place)
    await send(internal, names.actions, [keyed(action(1)), (b"?", b"garbage")])
    assert len(await read_count(internal, names.emails, 1)) == 1
    assert len(await read_count(internal, names.dead_letters, 1)) == 1
    assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
    limited.take_everything_away()
    retries = group_of(installation_of(limited.settings))
    needed = of_auditor(names, group, retries)
    limited.allow(*needed)
    for arguments, said in (
        (("audit",), "1 actions, 1 emails, 0 missing, 0 doubled"),
        (("trace", "1"), "two_button"),
        (("dead-letters", "list"), "not_json"),
        (("dead-letters", "show", "0/0"), "garbage"),
    ):
        done = await command(limited.place, *arguments)
        assert (done.exit_code, said in done.stdout) == (0, True), done.output
    refused = await command(limited.place, "dead-letters", "retry", "--yes")
    lacking = f"do not allow this user Write on transactional.id {retries}-{names.dead_letters}-0\n"
    assert (refused.exit_code, refused.stderr.endswith(lacking)) == (3, True), refused.stderr
    for topic in (names.actions, names.emails):
        assert await asyncio.to_thread(write, limited, topic) in DENIED
    limited.take_everything_away()
    await each_is_needed(limited, needed)


# -- what is said -----------------------------------------------------------------------------------------


async def test_a_missing_right_ends_the_start(limited: Limited) -> None:
    """The start does not wait: it names what is missing, as the doctor does, and who prints the rest."""
    await limited.make_topics()
    without = next(acl for acl in limited.needed if acl.operation == "Write")
    limited.allow(*(acl for acl in limited.needed if acl != without))

    async with administering(**limited.connection) as admin:
        assert await authorization.missing(admin, limited.needed) == [without]
    startup = limited.startup()
    with pytest.raises(AccessRefused) as refused:
        await startup.start()
    await startup.stop()
    assert str(refused.value) == (
        f"the brokers do not allow this user Write on topic {without.name}: `streams acls` prints what a"
        " worker needs"
    )
    (finding,) = await check_rights(installation_of(limited.settings))
    assert (finding.level, finding.text) == ("problem", str(refused.value))


async def test_topics_are_made_with_the_right_to_make_them(limited: Limited) -> None:
    """With Create on its topics a worker makes them; without it the start ends with a sentence."""
    async with administering(**limited.connection) as admin:
        with pytest.raises(TopicsUnfit, match="is missing and the cluster does not make it: TopicAuth"):
            await ensure_topics(admin, limited.names, partitions=1, replication=1)
        limited.allow(*limited.needed, *to_make_topics(limited.names))
        found = await ensure_topics(admin, limited.names, partitions=1, replication=1)
        assert found.partitions == 1
        assert (
            found.max_message_bytes[limited.names.dead_letters]
            > found.max_message_bytes[limited.names.emails]
        )  # DescribeConfigs


async def test_accepting_dead_letters_takes_read_on_their_topic(limited: Limited) -> None:
    """Who may let a stopped partition go on is said by ACLs; a worker's own rights do not suffice."""
    await limited.make_topics()
    limited.allow(*limited.needed)
    names = limited.names
    await send(limited.broker.internal, names.actions, [(b"?", b"garbage")])
    arguments = ["dead-letters", "accept", names.actions, "0", "latest"]

    refused = await command(limited.place, *arguments)
    assert refused.exit_code == 3
    assert refused.stderr == (
        f"Error: the brokers do not allow this user Read on topic {names.dead_letters}\n"
    )
    limited.allow(Acl("topic", names.dead_letters, "literal", "Read", "to accept"))
    accepted = await command(limited.place, *arguments)
    assert accepted.stdout == f"the dead letters of {names.actions}/0 are accepted up to offset 1: 1 offset\n"
