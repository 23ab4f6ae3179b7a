"""The mailer as a process, between a real Kafka and a real SMTP server that says what a test wants."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiosmtpd.controller import Controller

from streams.embedded import EmbeddedKafka
from tests.integration.topics import read_count, send
from tests.integration.worker_process import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]
CANARY = "canary"


class Mailbox:
    """An SMTP server; `answers` holds what it says to RCPT, by local part, one after the other."""

    def __init__(self) -> None:
        self.port = free_port()
        self.letters: list[Message] = []
        self.answers: dict[str, list[str]] = {}
        self._controller: Controller | None = None

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if answers := self.answers.get(address.partition("@")[0]):
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.letters.append(message_from_bytes(envelope.content))
        return "250 OK"

    def received(self) -> Counter[str]:
        return Counter(str(letter["To"]) for letter in self.letters)


class MailerProcess:
    def __init__(self, kafka: EmbeddedKafka, topic: str, smtp_port: int, folder: Path) -> None:
        self.log = folder / "mailer.log"
        self._environ = os.environ | {
            "MAILER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "MAILER_TOPIC": topic,
            "MAILER_DEAD_LETTERS_TOPIC": f"{topic}.dlq",
            "MAILER_GROUP_ID": f"{topic}-mailer",
            "MAILER_SMTP_HOST": "127.0.0.1",
            "MAILER_SMTP_PORT": str(smtp_port),
            "MAILER_FROM": "confirm@example.org",
            "MAILER_LINK_BASE": "https://act.example.org/confirm",
            "MAILER_LINK_SECRET": "a secret for the tests",
            "MAILER_SENT_FILE": str(folder / "sent.sqlite"),
            "MAILER_RETRY_FIRST": "0.1",
            "MAILER_RETRY_LONGEST": "0.4",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "examples.mailer"], env=self._environ, stderr=log
            )

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def until(self, seen: Callable[[], bool], seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not seen():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def mailer(
    kafka: EmbeddedKafka, mailbox: Mailbox, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[tuple[MailerProcess, Callable[..., list[tuple[int, int]]], str]]:
    """A mailer that is not started, a function that puts emails on its topic, and the topic."""
    topic = unique_name("emails")
    asyncio.run(_make_topics(kafka, topic, f"{topic}.dlq"))
    made = MailerProcess(kafka, topic, mailbox.port, tmp_path)

    def put(*values: bytes) -> list[tuple[int, int]]:
        messages = [(b"key", value) for value in values]
        return asyncio.run(send(kafka.bootstrap_servers, topic, messages, headers=[("variant", b"x")]))

    yield made, put, topic
    if made.process is not None:
        made.process.kill()
        made.process.wait()


async def _make_topics(kafka: EmbeddedKafka, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
    finally:
        await admin.close()


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
