"""The mailer as a process, between a real Kafka and a strict server, with records that somebody bent."""

import asyncio
import json
import re
import signal
import tomllib
from collections import Counter
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from examples.mailer.letters import HERE
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import make_topics
from tests.integration.topics import producing, read_count
from tests.mailer.mutations import records
from tests.mailer.processes import MailerProcess
from tests.mailer.readers import Seen, read
from tests.mailer.strict_smtp import StrictSmtp, Taken
from tests.mailer.test_letters import LETTERS, LINKS, email

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(1_200)]
PARTITIONS = 4
CHOICES = {"one_button": ["confirm"], "two_button": ["confirm-opt-in", "confirm-opt-out"]}
FOOTERS = {tomllib.loads(path.read_text("utf-8"))["footer"] for path in (HERE / "texts").glob("*.toml")}


class Tags(HTMLParser):
    """The tags of a page, in order, with their attributes but those that say locale and link."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.hrefs: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.hrefs += [value or "" for name, value in attributes if name == "href"]
        self.found.append((tag, [each for each in attributes if each[0] not in ("lang", "dir", "href")]))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_comment(self, text: str) -> None:
        self.found.append("comment")


@cache
def layout(variant: str, has_organisation: bool) -> tuple[list[Any], int]:
    """The tags of an ordinary letter, and the lines of its plain text."""
    record = json.loads(email(variant))
    record["action"]["org"]["title"] = "Us" if has_organisation else None
    seen = read(LETTERS.render(json.dumps(record).encode()).content)
    return Tags(seen.html).found, len(seen.plain.splitlines())


def judge(taken: Taken, record: dict[str, Any]) -> None:
    """A letter has the record's recipient, variant and links, and headers and layout like any other."""
    seen: Seen = read(taken.content)
    assert taken.sender == seen.sender == "confirm@example.org"
    assert taken.recipient == seen.recipient
    local, _, domain = record["action"]["contact"]["email"].strip().rpartition("@")
    assert taken.recipient.rpartition("@")[0].strip('"') == local.strip('"')
    assert not domain.isascii() or taken.recipient.rpartition("@")[2] == domain
    variant = record["variant"]
    tags, lines = layout(variant, bool(seen.sender_name))
    page = Tags(seen.html)
    assert page.found == tags
    links = [line for line in seen.plain.split("\n") if line.startswith("https://act.example.org/")]
    assert page.hrefs == links
    place = record["orgId"], record["actionId"], record["id"]
    assert [LINKS.read(link.rpartition("/")[2]) for link in links] == [
        (choice, *place) for choice in (*CHOICES[variant], "reject")
    ]
    assert len(seen.plain.splitlines()) == lines
    assert re.sub("[\u2067\u2069]", "", seen.plain.rstrip("\n").split("\n")[-3]) in FOOTERS


@pytest.mark.parametrize(
    ("seed", "number"), [(1, 300), pytest.param(2, 10_000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_no_record_makes_a_letter_that_is_not_ours(
    seed: int, number: int, kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """Each record gets one letter like any other, to its own recipient, or is a dead letter."""
    topic = unique_name("emails")
    values = list(records(seed, number))

    async def put() -> None:
        await make_topics(kafka.bootstrap_servers, PARTITIONS, topic)
        await make_topics(kafka.bootstrap_servers, 1, f"{topic}.dlq")
        async with producing(kafka.bootstrap_servers) as producer:
            for at, value in enumerate(values):
                await producer.send(topic, value, key=b"%d" % at, partition=at % PARTITIONS)
            for partition in range(PARTITIONS):
                last = json.loads(email(email=f"last{partition}@example.org"))
                last["id"] = f"{partition:08}-c6d5-5a52-bda8-cf198cbf8292"
                await producer.send(topic, json.dumps(last).encode(), partition=partition)

    asyncio.run(put())
    lasts = {f"last{partition}@example.org" for partition in range(PARTITIONS)}
    with (
        StrictSmtp("SIZE", "8BITMIME", "SMTPUTF8") as server,
        MailerProcess(kafka.bootstrap_servers, topic, server.port, tmp_path) as mailer,
    ):
        mailer.until(lambda: lasts <= {taken.recipient for taken in server.taken[-200:]}, 1_000)
        assert mailer.end(signal.SIGTERM) == 0
    assert server.violations == []
    taken = [each for each in server.taken if each.recipient not in lasts]
    dead = asyncio.run(read_count(kafka.bootstrap_servers, f"{topic}.dlq", number - len(taken)))
    assert len(taken) + len(dead) == number
    assert len(taken) > number / 4
    by_id = {}
    for at in set(range(number)) - {int(each.key) for each in dead}:
        record = json.loads(values[at] or b"")
        by_id[record["id"]] = record
    for each in taken:
        judge(each, by_id.pop(re.search(rb"\nMessage-ID: <(.{36})@example", each.content)[1].decode()))  # type: ignore[index]  # every letter has one
    assert by_id == {}
    assert all(each.value == values[int(each.key)] for each in dead)
    # No letter was stopped for what the mailer itself did wrong.
    reasons = Counter(dict(each.headers)["__streams.errors.exception"].decode() for each in dead)
    assert reasons.keys() <= {"no_address", "not_an_email_record", "no_variant", "no_id"}
