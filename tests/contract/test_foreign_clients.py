"""Three clients that we did not write read one run's emails: Java's, librdkafka and kafkajs.

The topic is as a bad day leaves it: emails of every reason, in batches of every codec that a topic can be
told to use, between records of transactions that were aborted.
"""

import asyncio
import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streams.messages.email import NAMESPACE
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import LookupService, failing, subscribed
from streams.sandbox.worker import Installation, WorkerProcess
from tests.contract import console_consumer, javascript, librdkafka
from tests.contract.records import Seen
from tests.contract.stored import CODECS, batches
from tests.examples import valid
from tests.integration.steps import learn, ready, table
from tests.integration.topics import action, keyed, send, status
from tests.test_schemas import validator

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

PARTITIONS = 4
ABORTED = b"of a transaction that was aborted"
ANSWERED, FAILING = 901, 902
"""Organisations with a lookup; the examples' have none."""

Client = Callable[[str, str, int], list[Seen]]
CLIENTS: dict[str, Client] = {
    "Java's console consumer": console_consumer.read,
    "librdkafka": librdkafka.read,
    "kafkajs": javascript.read,
}


@dataclass
class Run:
    """What was put on the topic of actions, and where the emails are."""

    kafka: EmbeddedKafka
    emails: str
    actions_topic: str
    actions: dict[str, tuple[int, bytes, bytes]] = field(default_factory=dict)
    """Partition, key and value by the id that the action's email has to have."""
    aborted: int = 0


@pytest.fixture(scope="module")
def run(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One run of a worker; its topic ends with an email in each partition, after the last aborted record."""
    folder = tmp_path_factory.mktemp("contract")
    with LookupService(subscribed) as answering, LookupService(failing) as broken:
        organisations = folder / "organisations.toml"
        organisations.write_text(
            table(ANSWERED, [f'url = "{answering.url}"']) + table(FAILING, [f'url = "{broken.url}"'])
        )
        with Installation(
            kafka.bootstrap_servers,
            f"contract-{uuid.uuid4().hex[:8]}",
            folder,
            organisations_file=organisations,
            topic_partitions=PARTITIONS,
        ) as place:
            yield asyncio.run(_perform(kafka, place))


async def _perform(kafka: EmbeddedKafka, place: Installation) -> Run:
    worker = await ready(place)
    made = Run(kafka, place.names.emails, place.names.actions)
    people = [status(number, subscribed=number % 2 == 0) for number in range(8)]
    await learn(place, people)
    for codec in CODECS:
        _compress(kafka, made.emails, "uncompressed" if codec == "none" else codec)
        _abort(made)
        await _act(made, worker, [*_strange(), *_of_every_reason(), *_of_every_reason()])
    _abort(made)
    await _act(made, worker, _one_for_each_partition())
    assert worker.stop() == 0
    return made


def _strange() -> list[tuple[bytes, bytes]]:
    """The schema's examples of actions that ask for an email: all scripts, emoji, nulls, any layout."""
    messages = []
    for value in valid("action").values():
        document = json.loads(value)
        consents = (document.get("privacy") or {}).get("withConsent") is not False
        contact = document.get("contact") or {}
        if document.get("stage") == "supporter_confirm" and consents and contact.get("email"):
            reference = contact.get("contactRef") or contact["ref"]
            messages.append((f"{document['orgId']}:{reference}".encode(), value))
    return messages


def _of_every_reason() -> list[tuple[bytes, bytes]]:
    known = [action(number, supporter=number) for number in range(8)]
    asked = [action(number, org_id=org) for org in (ANSWERED, FAILING) for number in range(100, 104)]
    return [keyed(each) for each in (*known, *asked)]


def _one_for_each_partition() -> list[tuple[bytes, bytes]]:
    """Enough people that some are in each partition."""
    return [keyed(action(number)) for number in range(1_000, 1_040)]


async def _act(made: Run, worker: WorkerProcess, messages: list[tuple[bytes, bytes]]) -> None:
    places = await send(made.kafka.bootstrap_servers, made.actions_topic, messages)
    for (key, value), (partition, offset) in zip(messages, places, strict=True):
        email_id = str(uuid.uuid5(NAMESPACE, f"{made.actions_topic}/{partition}/{offset}"))
        made.actions[email_id] = partition, key, value
    await asyncio.to_thread(worker.wait_counter, len(made.actions), "confirmation_emails_total")


def _compress(kafka: EmbeddedKafka, topic: str, codec: str) -> None:
    entry = ConfigEntry("compression.type", codec, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result(10)


def _abort(made: Run) -> None:
    """Write three records to each partition in a transaction, let the broker have them, and abort."""
    producer = Producer(
        {
            "bootstrap.servers": made.kafka.bootstrap_servers,
            "transactional.id": f"{made.emails}-stranger",
            "compression.type": "gzip",
        }
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    for number in range(3 * PARTITIONS):
        producer.produce(made.emails, ABORTED, key=b"310:stranger", partition=number % PARTITIONS)
    assert producer.flush(10) == 0
    producer.abort_transaction(10)
    made.aborted += 3 * PARTITIONS


def test_the_topic_is_as_the_others_presume(run: Run) -> None:
    """Batches of every codec are on the disk, and a reader at Kafka's default level sees what was aborted."""
    for partition in range(PARTITIONS):
        written = [
            batch
            for batch in batches(run.kafka.folder, f"{run.emails}-{partition}")
            if batch.transactional and not batch.control
        ]
        assert {batch.codec for batch in written} == set(CODECS)
        assert len({batch.producer_id for batch in written}) > 1  # the worker's and the stranger
    everything = len(run.actions) + run.aborted
    seen = librdkafka.read(run.kafka.bootstrap_servers, run.emails, everything, "read_uncommitted")
    assert sum(each.value == ABORTED for each in seen) == run.aborted
    ends = {each.partition: each.value for each in seen}
    assert len(ends) == PARTITIONS
    assert ABORTED not in ends.values()  # so, whoever has read as many emails as there are has read all


@pytest.mark.parametrize("client", CLIENTS)
def test_each_action_has_one_email_and_nothing_else_is_there(run: Run, client: str) -> None:
    """Every record once, with its action's key in its action's partition, in the order of the log."""
    seen = CLIENTS[client](run.kafka.bootstrap_servers, run.emails, len(run.actions))
    assert Counter(each.email["id"] for each in seen) == dict.fromkeys(run.actions, 1)
    offsets: dict[int, list[int]] = defaultdict(list)
    for each in seen:
        partition, key, value = run.actions[each.email["id"]]
        assert (each.partition, each.key) == (partition, key)
        assert each.value.endswith(b'"action":%s}' % value)  # untouched, to the byte
        offsets[each.partition].append(each.offset)
    assert all(each == sorted(set(each)) for each in offsets.values())
    _in_order(run, seen)
    _as_the_schemas_say(seen)


def _in_order(run: Run, seen: list[Seen]) -> None:
    """The emails of one supporter, who has many, are in the order of the actions.

    Not where a lookup fails: while one question is still out, the breaker may open, and who comes later does
    not wait. An email leaves when its own decision is made.
    """
    order = {email_id: number for number, email_id in enumerate(run.actions)}
    by_key: dict[Any, list[int]] = defaultdict(list)
    for each in seen:
        if each.email["orgId"] != FAILING:
            by_key[each.key].append(order[each.email["id"]])
    assert max(map(len, by_key.values())) >= 2 * len(CODECS)
    assert all(each == sorted(each) for each in by_key.values())


def _as_the_schemas_say(seen: list[Seen]) -> None:
    """Values and headers are within their contract, and say the same."""
    values, headers = validator("confirmation-email"), validator("confirmation-email-headers")
    for each in seen:
        values.validate(each.email)
        texts = {name: value.decode() for name, value in each.headers}
        assert len(texts) == len(each.headers)
        headers.validate(texts)
        assert texts["ce_id"] == each.email["id"]
        assert texts["variant"] == each.email["variant"]
        assert texts["ce_time"] == each.email["decidedAt"]
        assert texts["ce_source"].endswith(f"/{each.partition}")
    assert {each.email["reason"] for each in seen} == {
        "known_subscribed",
        "known_not_subscribed",
        "lookup_subscribed",
        "lookup_failed",
        "no_lookup",
    }


def test_what_is_installed_is_pinned() -> None:
    """The lock file names a hash for every package, and no host to get it from."""
    lock = json.loads((javascript.HERE / "package-lock.json").read_bytes())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
