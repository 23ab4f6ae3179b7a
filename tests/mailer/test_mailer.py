"""The mailer as a process, between a real Kafka and a real SMTP server that says what a test wants."""

import asyncio
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import make_topics
from tests.faults.kafka_proxy import Api, CutAfter, KafkaProxy
from tests.integration.topics import producing, read_count, send
from tests.mailer.processes import Mailbox, MailerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]
CANARY = "canary"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as made:
        yield made


@pytest.fixture
def mailer(
    kafka: EmbeddedKafka, mailbox: Mailbox, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[tuple[MailerProcess, Callable[..., list[tuple[int, int]]], str]]:
    """A mailer that is not started, a function that puts emails on its topic, and the topic."""
    topic = unique_name("emails")
    asyncio.run(make_topics(kafka.bootstrap_servers, 1, topic, f"{topic}.dlq"))
    made = MailerProcess(kafka.bootstrap_servers, topic, mailbox.port, tmp_path)

    def put(*values: bytes) -> list[tuple[int, int]]:
        messages = [(b"key", value) for value in values]
        return asyncio.run(send(kafka.bootstrap_servers, topic, messages, headers=[("variant", b"x")]))

    yield made, put, topic
    made.kill()


def email(who: str, variant: str = "one_button") -> bytes:
    action = {"contact": {"email": f"{who}@{CANARY}.example", "firstName": f"{CANARY}name"}}
    record = {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, who)), "variant": variant, "orgId": 1, "actionId": 7}
    return orjson.dumps(record | {"decidedAt": "2026-11-24T10:00:01.596Z", "action": action})


def test_each_gets_one_letter_or_a_dead_letter_and_nobody_is_in_the_log(
    kafka: EmbeddedKafka, mailbox: Mailbox, mailer: Any
) -> None:
    """A 4xx is tried again; a 5xx and poison become dead letters, whole; the rest goes on."""
    process, put, topic = mailer
    mailbox.answers = {"later": ["451 busy", "450 busy"], "never": [f"550 no never@{CANARY}.example here"]}
    [_, _, refused, poison, _] = put(email("a"), email("later"), email("never"), b"{poison", email("z"))
    process.start()
    process.until(lambda: len(mailbox.letters) == 3)
    assert process.end(signal.SIGTERM) == 0
    assert mailbox.received() == {f"{who}@{CANARY}.example": 1 for who in ("a", "later", "z")}
    assert mailbox.answers["later"] == []
    dead = asyncio.run(read_count(kafka.bootstrap_servers, f"{topic}.dlq", 2))
    assert [letter.value for letter in dead] == [email("never"), b"{poison"]
    for letter, place, why in zip(dead, (refused, poison), ("smtp_550", "not_an_email_record"), strict=True):
        headers = {name: value.decode() for name, value in letter.headers}
        assert letter.key == b"key"
        assert headers == {
            "variant": "x",
            "__streams.errors.topic": topic,
            "__streams.errors.partition": str(place[0]),
            "__streams.errors.offset": str(place[1]),
            "__streams.errors.exception": why,
        }
    log = process.log.read_text()
    assert "stopped" in log
    assert CANARY not in log


@pytest.mark.slow
def test_a_killed_mailer_doubles_nothing_that_it_knows_of(mailbox: Mailbox, mailer: Any) -> None:
    """After SIGKILL between two letters, the next run sends the rest; an id that comes again sends none."""
    process, put, _ = mailer
    people = [f"p{number}" for number in range(20)]
    mailbox.answers = {"p10": ["451 wait"] * 3}
    put(*map(email, people))
    process.start()
    process.until(
        lambda: len(mailbox.answers["p10"]) < 3
    )  # ten are sent and recorded; it waits with this one
    process.end(signal.SIGKILL)
    put(*map(email, people), email("last"))  # as an audit's resend would
    process.start()
    process.until(lambda: f"last@{CANARY}.example" in mailbox.received())
    assert process.end(signal.SIGTERM) == 0
    assert mailbox.received() == {f"{who}@{CANARY}.example": 1 for who in [*people, "last"]}


def test_a_server_that_is_down_costs_time_and_no_letter(mailbox: Mailbox, mailer: Any) -> None:
    """While nobody listens, letters wait; they leave, once each, when the server is back."""
    process, put, _ = mailer
    mailbox.stop()
    put(email("a"), email("b"))
    process.start()
    process.until(lambda: process.log.exists() and process.log.read_text().count("has to wait") >= 3)
    mailbox.start()
    process.until(lambda: len(mailbox.letters) == 2)
    assert process.end(signal.SIGTERM) == 0
    assert mailbox.received() == {f"{who}@{CANARY}.example": 1 for who in "ab"}


def test_a_letter_that_waits_holds_up_its_partition_alone(
    kafka: EmbeddedKafka, mailbox: Mailbox, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """While one partition's first letter waits, the other's leave; what was aborted leaves from neither."""
    topic = unique_name("emails")
    mailbox.answers = {"later": ["451 busy"] * 1_000}

    async def put() -> None:
        await make_topics(kafka.bootstrap_servers, 2, topic)
        async with producing(kafka.bootstrap_servers, transactional_id=topic) as producer:
            await producer.begin_transaction()
            for partition in (0, 1):
                await producer.send_and_wait(topic, email("ghost"), key=b"key", partition=partition)
            await producer.abort_transaction()
            async with producer.transaction():
                for partition, people in enumerate((("later", "last"), "abc")):
                    for who in people:
                        await producer.send_and_wait(topic, email(who), key=b"key", partition=partition)

    asyncio.run(put())
    with MailerProcess(kafka.bootstrap_servers, topic, mailbox.port, tmp_path) as mailer:
        mailer.until(lambda: len(mailbox.letters) == 3 and len(mailbox.answers["later"]) < 998)
        assert mailbox.received() == {f"{who}@{CANARY}.example": 1 for who in "abc"}
        mailbox.answers.clear()
        mailer.until(lambda: len(mailbox.letters) == 5)
        assert mailer.end(signal.SIGTERM) == 0
    in_order = [str(letter["To"]).partition("@")[0] for letter in mailbox.letters]
    assert sorted(in_order[:3]) == list("abc")
    assert in_order[3:] == ["later", "last"]


def test_nothing_in_a_record_ends_the_mailer(
    kafka: EmbeddedKafka, mailbox: Mailbox, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """What cannot be read, rendered, encoded or kept whole is a dead letter; the next gets its letter."""
    topic, dead_letters = unique_name("emails"), unique_name("dead")
    good = email("a")
    poison = [
        good.replace(b'"actionId":7', b'"actionId":Infinity'),
        good.replace(b'"actionId":7', b'"actionId":NaN'),
        good.replace(b"a@", "ä@\u2028".encode()),
        good.replace(b"a@", b"=?utf-8?q?b?=@"),
        b"[" * 100_000,
        b"{" + b" " * 2_000_000,
    ]
    titles = ["é=??q?=fe?=", "=?utf-8?q?=0d=0aBcc:_b=40example.org?="]
    campaigns = [orjson.loads(email(f"t{number}")) for number in range(len(titles))]
    for record, title in zip(campaigns, titles, strict=True):
        record["action"]["campaign"] = {"title": title}
    asyncio.run(make_topics(kafka.bootstrap_servers, 1, topic, max_message_bytes="4000000"))
    asyncio.run(make_topics(kafka.bootstrap_servers, 1, dead_letters))
    values = [*poison, *map(orjson.dumps, campaigns), good]
    asyncio.run(send(kafka.bootstrap_servers, topic, [(b"key", value) for value in values]))
    make = (kafka.bootstrap_servers, topic, mailbox.port, tmp_path)
    with MailerProcess(*make, dead_letters_topic=dead_letters) as mailer:
        mailer.until(lambda: len(mailbox.letters) == 3)
        assert mailer.end(signal.SIGTERM) == 0
    assert mailbox.received() == {f"{who}@{CANARY}.example": 1 for who in ("t0", "t1", "a")}
    assert not any(letter["Bcc"] for letter in mailbox.letters)
    dead = asyncio.run(read_count(kafka.bootstrap_servers, dead_letters, len(poison)))
    assert [letter.value for letter in dead[:-1]] == poison[:-1]
    assert dead[-1].value == poison[-1][: 64 << 10]
    assert dict(dead[-1].headers)["shortened-from"] == b"2000001"
    assert CANARY not in mailer.log.read_text()


def test_an_answer_that_is_lost_leaves_a_dead_letter_once(
    kafka: EmbeddedKafka, mailbox: Mailbox, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """The connection breaks after the broker wrote it: the mailer writes it again, and the topic has one."""
    topic = unique_name("emails")
    asyncio.run(make_topics(kafka.bootstrap_servers, 1, topic, f"{topic}.dlq"))
    with KafkaProxy(kafka.bootstrap_servers) as proxy:
        lost = proxy.add(Api.PRODUCE, CutAfter())
        mailer = MailerProcess(proxy.bootstrap_servers, topic, mailbox.port, tmp_path)
        mailer.start()
        try:
            values = [b"{poison", b"{more of it", email("a")]
            asyncio.run(send(kafka.bootstrap_servers, topic, [(b"key", value) for value in values]))
            mailer.until(lambda: len(mailbox.letters) == 1)
            assert mailer.end(signal.SIGTERM) == 0
        finally:
            mailer.kill()
    assert lost.hits == 1
    dead = asyncio.run(read_count(kafka.bootstrap_servers, f"{topic}.dlq", 2))
    assert [letter.value for letter in dead] == values[:2]
