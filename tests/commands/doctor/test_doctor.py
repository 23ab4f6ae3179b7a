"""``streams doctor`` on a real Kafka, with a real worker where one is needed."""

import asyncio
import time
import zlib

import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import OffsetAndMetadata
from click.testing import CliRunner

from streams.actions.dead_letter import LEAST
from streams.commands.doctor.commands import doctor
from streams.commands.doctor.transactions import open_transactions
from streams.messages.decode import ErrorClass
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import commit
from tests.commands.conftest import Make, streams
from tests.commands.conftest import topics as topics  # the fixture
from tests.commands.output import document
from tests.commands.topics import Topics, transactional
from tests.integration.steps import Make as MakeInstallation
from tests.integration.steps import learn, ready
from tests.integration.topics import action, keyed, producing, send, status

pytestmark = pytest.mark.kafka


async def findings_of(live: Topics, *arguments: str) -> tuple[list[dict[str, str]], int]:
    result = await streams(live, "doctor", "--json", *arguments)
    return document("findings", result.stdout), result.exit_code


def problems(findings: list[dict[str, str]]) -> list[str]:
    return [each["text"] for each in findings if each["level"] == "problem"]


def said(findings: list[dict[str, str]], check: str) -> str:
    return "\n".join(each["text"] for each in findings if each["check"] == check)


async def test_a_live_installation_has_no_problems(
    kafka: EmbeddedKafka, installation: MakeInstallation
) -> None:
    """With a running worker and well-keyed topics: exit code 0; members and clocks told."""
    place = installation()
    worker = await ready(place)
    await send(place.bootstrap_servers, place.names.statuses, [status(number, True) for number in range(20)])
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(number)) for number in range(20)])
    await asyncio.to_thread(worker.wait_counter, 20, "confirmation_emails_total")
    live = Topics(place.bootstrap_servers, place.group, 4)
    findings, code = await findings_of(live, "--probe")
    assert (problems(findings), code) == ([], 0)
    assert "1 known" in said(findings, "brokers")
    assert "4 partitions each" in said(findings, "topics")
    assert "is Stable, with 1 workers" in said(findings, "consumers")
    assert said(findings, "keys").count("keyed and placed as they should be") == 2
    assert "agree to" in said(findings, "clock")
    assert "none is configured" in said(findings, "lookups")


async def test_each_fault_is_named_with_its_remedy(topics: Make) -> None:
    """Compacted emails, uncompacted statuses, CRC32, other keys, no worker; --problems-only: no more."""
    live = await topics(
        emails={"cleanup.policy": "compact", "retention.ms": "3600000"}, statuses={"cleanup.policy": "delete"}
    )
    async with producing(live.servers) as producer:
        for number in range(30):
            key, value = status(number, True)
            await producer.send(live.names.statuses, value, key=key, partition=zlib.crc32(key) % 2)
            key, value = keyed(action(number))
            await producer.send(live.names.actions, value, key=b"%d" % number, partition=number % 2)
    findings, code = await findings_of(live)
    found = "\n".join(problems(findings))
    for sentence in (
        "emails is compacted",
        "status is not compacted",
        "CRC32 of the key",
        "no worker is running",
        "has committed nothing",
        "changelog is not compacted",
    ):
        assert sentence in found, sentence
    assert code == 1
    only, code = await findings_of(live, "--problems-only")
    assert ([each["text"] for each in only], code) == (problems(findings), 1)
    warnings = [each["text"] for each in findings if each["level"] == "warning"]
    assert any(
        "30 of the newest 30 records" in each and "keyed by something else" in each for each in warnings
    )
    assert any("keeps emails for 60 min" in each for each in warnings)
    assert all(each["remedy"] for each in findings if each["level"] in ("problem", "warning"))


async def test_missing_topics_are_problems(topics: Make) -> None:
    """Each missing topic is named, and none is created by looking."""
    live = await topics()
    other = Topics(live.servers, f"{live.installation.group}-none")
    for _ in range(2):
        findings, code = await findings_of(other)
        missing = [text for text in problems(findings) if text.endswith("is missing")]
        assert len(missing) == 6
        assert len(problems(findings)) == 7  # and no worker
        assert code == 1


async def test_an_old_unsettled_action_is_a_problem(topics: Make) -> None:
    """An action that has waited for minutes at the committed offset: how far behind, and since when."""
    live = await topics(partitions=1)
    async with producing(live.servers) as producer:
        key, value = keyed(action(1))
        for age in (3_600, 600, 0):
            await producer.send(
                live.names.actions, value, key=key, timestamp_ms=int((time.time() - age) * 1000)
            )
    await live.settle({0: (1, [])})
    findings, _ = await findings_of(live)
    (late,) = [text for text in problems(findings) if "offsets behind" in text]
    assert "actions/0: 2 offsets behind" in late
    assert "has waited 10 min" in late


async def test_statuses_and_rekeyed_actions_that_nobody_reads_are_a_problem(topics: Make) -> None:
    """Not only the actions may wait; a topic of which nothing is committed yet has had no records."""
    live = await topics(partitions=1)
    for topic in (live.names.statuses, live.names.rekeyed):
        async with producing(live.servers) as producer:
            for age in (3_600, 600):
                at = int((time.time() - age) * 1000)
                await producer.send(topic, b"{}", key=b"310:x", timestamp_ms=at)
        findings, _ = await findings_of(live)
        assert f"{topic}/0" not in "\n".join(problems(findings))
        await live.settle({0: (1, [])}, topic)
        findings, _ = await findings_of(live)
        (late,) = [text for text in problems(findings) if f"{topic}/0" in text]
        assert "1 offsets behind" in late
        assert "has waited 10 min" in late


async def test_a_partition_that_a_real_worker_stopped_is_a_problem(installation: MakeInstallation) -> None:
    """Too many dead letters stop the lane; the doctor sees it in Kafka, and counts the new dead letters."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    async with producing(place.bootstrap_servers) as producer:
        for _ in range(120):
            earlier = int((time.time() - 600) * 1000)
            await producer.send(place.names.actions, b"no action", key=b"k", timestamp_ms=earlier)
    await asyncio.to_thread(worker.wait_counter, LEAST, "confirmation_dead_letters_total")
    findings, _ = await findings_of(Topics(place.bootstrap_servers, place.group, 1))
    stopped = "\n".join(problems(findings))
    assert f"actions/0 has stopped at offset {LEAST}: {LEAST} of its last {LEAST} actions" in stopped
    waiting = f"{LEAST} (not_json {LEAST}), neither retried nor accepted; {LEAST} in the last hour"
    assert waiting in said(findings, "dead letters")


async def test_yesterday_s_dead_letters_are_a_problem_until_a_person_settles_them(topics: Make) -> None:
    """By a retry, or by accepting what the group has passed already, of statuses too."""
    live = await topics(partitions=1)
    yesterday = int((time.time() - 86_400) * 1000)
    places = await live.act([b"no action", b"nor this"])
    for place in places:
        await live.bury(place, b"no action", ErrorClass.NOT_JSON, at=yesterday)
    await send(live.servers, live.names.statuses, [(b"310:x", b"no status")])
    await live.bury((0, 0), b"no status", ErrorClass.NOT_JSON, topic=live.names.statuses, at=yesterday)
    await live.settle_all()

    async def waiting() -> str:
        findings, _ = await findings_of(live)
        return "\n".join(text for text in problems(findings) if "nor accepted" in text)

    assert "3 (not_json 3)" in await waiting()
    assert (await streams(live, "dead-letters", "retry", "0/0", "--yes")).exit_code == 0
    assert "2 (not_json 2)" in await waiting()
    await live.settle_all()
    done = await streams(live, "dead-letters", "accept", live.names.actions, "0", "latest")
    assert (done.exit_code, done.stdout.endswith("those that the group has passed\n")) == (0, True), (
        done.output
    )
    assert "1 (not_json 1)" in await waiting()
    done = await streams(live, "dead-letters", "accept", live.names.statuses, "0", "latest")
    assert done.exit_code == 0, done.output
    assert await waiting() == ""


async def test_the_stores_of_a_real_worker_are_looked_at(installation: MakeInstallation) -> None:
    """Sound while it runs; damaged files, found when it has ended, are a problem that counts."""
    place = installation(store="rocksdb")
    worker = await ready(place)
    await learn(place, [status(number, True) for number in range(2_000)])
    folder = worker.log.with_suffix("")
    live = Topics(place.bootstrap_servers, place.group, 4, store_folder=str(folder))
    findings, _ = await findings_of(live)
    assert f"the process {worker.pid} uses it; 4 of 4 stores sound, 2,000 rows read" in said(
        findings, "stores"
    )
    assert not any("store" in text for text in problems(findings))
    assert worker.stop() == 0, worker.tail()
    for path in folder.rglob("CURRENT"):
        path.write_bytes(b"")
    findings, code = await findings_of(live)
    damaged = [text for text in problems(findings) if "cannot be trusted, because it is damaged" in text]
    assert len(damaged) == 4
    assert code == 1


async def test_who_reads_the_emails_is_listed(topics: Make) -> None:
    """Groups with offsets in the emails topic are named, with a word on read_committed."""
    live = await topics()
    mailer = f"{live.installation.group}-mailer"
    place = TopicPartition(live.names.emails, 0)
    await commit(live.servers, mailer, {place: OffsetAndMetadata(0, "")})
    findings, _ = await findings_of(live)
    assert f"is read by {mailer}; no broker knows" in said(findings, "consumers")


async def test_a_transaction_that_holds_readers_up_is_found(topics: Make) -> None:
    """The broker lists it with its id and partition; the emails' stable end stands still."""
    live = await topics(partitions=1)
    client = AIOKafkaClient(bootstrap_servers=live.servers)
    async with transactional(live) as producer:
        await producer.begin_transaction()
        await live.mail([(1, (0, 0))], producer)
        try:
            await client.bootstrap()
            found = await open_transactions(client, [live.names.emails])
        finally:
            await client.close()
        assert found is not None
        assert [(each.transactional_id, each.state, each.timeout, each.partitions) for each in found] == [
            (f"{live.installation.group}-test", "Ongoing", 60.0, (f"{live.names.emails}/0",))
        ]
        assert abs(found[0].since - time.time()) < 60
        findings, _ = await findings_of(live)
        assert any("stand still at offset 0" in text for text in problems(findings))
        await producer.abort_transaction()
    findings, _ = await findings_of(live)
    assert "stand still" not in said(findings, "transactions")


def test_without_kafka_there_is_one_problem_about_it() -> None:
    """Exit code 3 as everywhere, what to look at, and the lookups are looked at all the same."""
    environ = {"STREAMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    result = CliRunner().invoke(doctor, [], env=environ)
    assert result.exit_code == 3
    assert "PROBLEM  brokers: no broker answers at 127.0.0.1:1" in result.stdout
    assert "lookups: none is configured" in result.stdout
