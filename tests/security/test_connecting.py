"""TLS, mutual TLS and SASL against a real broker: what works, and what each mistake is told as."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.delivery.kafka_transaction import KafkaTransactions
from streams.delivery.offsets import Offsets
from streams.delivery.topic_limits import TopicLimits
from streams.delivery.transaction import Outgoing
from streams.kafka.connection_check import AccessRefused, access_problem
from streams.kafka.topics import TopicNames
from streams.sandbox.worker import Installation
from streams.settings.connection import client_options
from streams.settings.load import load_settings
from streams.startup import Startup
from tests.clients import make_topics
from tests.integration.steps import ready
from tests.integration.topics import action, keyed, read_count, send
from tests.security.broker import (
    LIMITED,
    LIMITED_PASSWORD,
    PASSWORD,
    PLAIN_PASSWORD,
    PLAIN_USER,
    SecureBroker,
)

pytestmark = pytest.mark.kafka

NO_SASL = {"SASL_MECHANISM": None, "SASL_USER": None, "SASL_PASSWORD": None}
BY_PLAIN = {"SASL_MECHANISM": "PLAIN", "SASL_USER": PLAIN_USER, "SASL_PASSWORD": PLAIN_PASSWORD}
WRONG = "not-the-password"
Mistake = dict[str, str | None]


def connection(broker: SecureBroker, listener: str, mistake: Mistake) -> dict[str, Any]:
    """What our clients are given; a value like "@stranger" is the path of that certificate."""
    changed = {
        name: broker.certificates.path(value[1:]) if value and value.startswith("@") else value
        for name, value in mistake.items()
    }
    return client_options(load_settings(broker.environ(listener, **changed)))


# -- what works -------------------------------------------------------------------------------------------

WAYS: list[tuple[str, Mistake]] = [
    ("TLS", {}),
    ("TLS", {"HOST_NAME_CHECK": "off"}),
    ("ELSEWHERE", {"HOST_NAME_CHECK": "off"}),
    ("MUTUAL", {}),
    ("MUTUAL12", {}),
    ("SASLTLS", BY_PLAIN),
    ("SASLTLS", {"SASL_MECHANISM": "SCRAM-SHA-256"}),
    ("SASLTLS", {"SASL_MECHANISM": "SCRAM-SHA-512"}),
    ("SASLCLEAR", {}),
    ("OAUTH", {}),
]


@pytest.mark.parametrize(("listener", "changed"), WAYS)
async def test_a_transaction_goes_through(
    broker: SecureBroker, unique_name: Callable[[str], str], listener: str, changed: Mistake
) -> None:
    """A broker that accepts us gives no reason to stop, and carries what a lane does, which is read back."""
    options = connection(broker, listener, changed)
    assert await access_problem(options) is None
    topic, group = unique_name("t"), unique_name("g")
    admin = AIOKafkaAdminClient(**options)
    offsets = Offsets(group, options)
    place = TopicPartition(topic, 0)
    transactions = KafkaTransactions(
        place,
        group=group,
        connection=options,
        committed=offsets.committed,
        limits=TopicLimits({topic: 1_000_000}),
        transaction_timeout=20,
    )
    consumer = AIOKafkaConsumer(**options, isolation_level="read_committed")
    try:
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1)])
        assert (await transactions.open()).offset is None
        await transactions.commit([Outgoing(topic, None, b"v", [])], 7, "")
        await consumer.start()
        consumer.assign([place])
        consumer.seek(place, 0)
        async with asyncio.timeout(20):
            assert (await consumer.getone()).value == b"v"
        assert (await offsets.committed(place)).offset == 7
    finally:
        await consumer.stop()
        await transactions.close()
        await offsets.stop()
        await admin.close()


@pytest.fixture
def installations(
    broker: SecureBroker, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[dict[str, Installation]]:
    """Worker processes by mutual TLS, and by SCRAM with the password in a file, as Kubernetes mounts it."""
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    by_file = broker.settings("SASLTLS", SASL_PASSWORD=None) | {"KAFKA_SASL_PASSWORD_FILE": str(secret)}
    found = {}
    for name, settings in (("mutual", broker.settings("MUTUAL")), ("scram", by_file)):
        folder = tmp_path / name
        folder.mkdir()
        found[name] = Installation(settings["KAFKA_BOOTSTRAP_SERVERS"], unique_name("t"), folder, **settings)
    yield found
    for each in found.values():
        each.kill_all()


async def test_workers_turn_actions_into_emails(
    broker: SecureBroker, installations: dict[str, Installation]
) -> None:
    """Behind mutual TLS and behind SCRAM over TLS, every action becomes one committed email."""
    await asyncio.gather(*(_twenty_emails(broker, place) for place in installations.values()))


async def _twenty_emails(broker: SecureBroker, place: Installation) -> None:
    worker = await ready(place)
    await send(broker.internal, place.names.actions, [keyed(action(number)) for number in range(20)])
    emails = await read_count(broker.internal, place.names.emails, 20)
    assert len(emails) == len({each.key for each in emails}) == 20
    assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
    assert PASSWORD not in worker.log.read_text()


# -- what each mistake is told as ---------------------------------------------------------------------------

MISTAKES: dict[str, tuple[str, Mistake, str]] = {
    "unknown authority": (
        "TLS",
        {"CA_FILE": "@other-ca"},
        "is from an authority that is not in STREAMS_KAFKA_CA_FILE (",
    ),
    "authority not set": ("TLS", {"CA_FILE": None}, "does not know: set STREAMS_KAFKA_CA_FILE"),
    "expired": ("EXPIRED", {}, "the certificate of the broker at {address} has expired"),
    "other host": ("ELSEWHERE", {}, "for another host name than 127.0.0.1: STREAMS_KAFKA_BOOTSTRAP_SERVERS"),
    "other advertised host": (
        "RENAMED",
        {},
        "which the cluster advertises, is for another host name than 127.1",
    ),
    "no client certificate": (
        "MUTUAL",
        {"CLIENT_CERTIFICATE_FILE": None, "CLIENT_KEY_FILE": None},
        "asks for a client certificate: set STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE",
    ),
    "client certificate of another authority": (
        "MUTUAL",
        {"CLIENT_CERTIFICATE_FILE": "@stranger", "CLIENT_KEY_FILE": "@stranger"},
        "refuses the certificate in STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE",
    ),
    "client certificate expired": (
        "MUTUAL",
        {"CLIENT_CERTIFICATE_FILE": "@late-client", "CLIENT_KEY_FILE": "@late-client"},
        "does not trust, or has expired",
    ),
    "no client certificate, TLS 1.2": (
        "MUTUAL12",
        {"CLIENT_CERTIFICATE_FILE": None, "CLIENT_KEY_FILE": None},
        "asks for a client certificate: set STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE",
    ),
    "client certificate of another authority, TLS 1.2": (
        "MUTUAL12",
        {"CLIENT_CERTIFICATE_FILE": "@stranger", "CLIENT_KEY_FILE": "@stranger"},
        "refuses the certificate in STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE",
    ),
    "wrong password": (
        "SASLTLS",
        {"SASL_PASSWORD": WRONG},
        "knows STREAMS_KAFKA_SASL_USER, and STREAMS_KAFKA_SASL_PASSWORD is wrong",
    ),
    "wrong user": ("SASLTLS", {"SASL_USER": "nobody"}, "knows no STREAMS_KAFKA_SASL_USER like ours"),
    "user of another mechanism": (
        "SASLTLS",
        {"SASL_MECHANISM": "SCRAM-SHA-256", "SASL_USER": LIMITED, "SASL_PASSWORD": LIMITED_PASSWORD},
        "that has a password for SCRAM-SHA-256",
    ),
    "wrong password by PLAIN": (
        "SASLTLS",
        {**BY_PLAIN, "SASL_PASSWORD": WRONG},
        "STREAMS_KAFKA_SASL_USER or STREAMS_KAFKA_SASL_PASSWORD: one of them is wrong",
    ),
    "mechanism not enabled": (
        "SASLCLEAR",
        {"SASL_MECHANISM": "SCRAM-SHA-512"},
        "does not offer STREAMS_KAFKA_SASL_MECHANISM SCRAM-SHA-512: it offers PLAIN",
    ),
    "TLS against a plain port": (
        "PLAINTEXT",
        {"SECURITY_PROTOCOL": "SSL"},
        "speaks no TLS there and STREAMS_KAFKA_SECURITY_PROTOCOL is SSL: set PLAINTEXT",
    ),
    "plain against a TLS port": (
        "TLS",
        {"SECURITY_PROTOCOL": "PLAINTEXT", "CA_FILE": None},
        "speaks TLS there and STREAMS_KAFKA_SECURITY_PROTOCOL is PLAINTEXT: set SSL",
    ),
    "plain against a port of mutual TLS": (
        "MUTUAL",
        {
            "SECURITY_PROTOCOL": "PLAINTEXT",
            "CA_FILE": None,
            "CLIENT_CERTIFICATE_FILE": None,
            "CLIENT_KEY_FILE": None,
        },
        "speaks TLS there and STREAMS_KAFKA_SECURITY_PROTOCOL is PLAINTEXT: set SSL",
    ),
    "SASL in the clear against SASL over TLS": (
        "SASLTLS",
        {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "CA_FILE": None},
        "speaks TLS there and STREAMS_KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT: set SASL_SSL",
    ),
    "SASL over TLS against SASL in the clear": (
        "SASLCLEAR",
        {"SECURITY_PROTOCOL": "SASL_SSL"},
        "speaks no TLS there and STREAMS_KAFKA_SECURITY_PROTOCOL is SASL_SSL: set SASL_PLAINTEXT",
    ),
    "no password against a port that wants one": (
        "SASLTLS",
        {"SECURITY_PROTOCOL": "SSL", **NO_SASL},
        "set SASL_SSL, with a STREAMS_KAFKA_SASL_MECHANISM of PLAIN or SCRAM-SHA-256 or SCRAM-SHA-512",
    ),
    "no password against a plain port that wants one": (
        "SASLCLEAR",
        {"SECURITY_PROTOCOL": "PLAINTEXT", **NO_SASL},
        "asks for user and password and STREAMS_KAFKA_SECURITY_PROTOCOL is PLAINTEXT: set SASL_PLAINTEXT",
    ),
    "wrong client secret": (
        "OAUTH",
        {"OAUTH_CLIENT_SECRET": WRONG},
        "refuses STREAMS_KAFKA_OAUTH_CLIENT_ID or STREAMS_KAFKA_OAUTH_CLIENT_SECRET: one of them is wrong",
    ),
    "scope that the token server does not know": (
        "OAUTH",
        {"OAUTH_SCOPE": "unknown"},
        "refuses STREAMS_KAFKA_OAUTH_SCOPE (invalid_scope)",
    ),
    "token for another audience": (
        "OAUTH",
        {"OAUTH_SCOPE": "audience=elsewhere"},
        "the broker at {address} refuses our token: it may expect another issuer, audience or scope",
    ),
    "a password against a port that wants a token": (
        "OAUTH",
        BY_PLAIN | {f"OAUTH_{name}": None for name in ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET")},
        "does not offer STREAMS_KAFKA_SASL_MECHANISM PLAIN: it offers OAUTHBEARER",
    ),
    "a password against a port that wants none": (
        "TLS",
        {"SECURITY_PROTOCOL": "SASL_SSL", **BY_PLAIN},
        "takes no password there and STREAMS_KAFKA_SECURITY_PROTOCOL is SASL_SSL: set SSL",
    ),
}


@pytest.mark.parametrize(("listener", "mistake", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
async def test_each_mistake_ends_the_start_and_is_named(
    broker: SecureBroker, listener: str, mistake: Mistake, expected: str
) -> None:
    """Well within 30 s, one sentence says which it is, where, and what mends it; no user, no password."""
    names = TopicNames.of(load_settings({}))
    startup = Startup(
        connection=connection(broker, listener, mistake),
        group="g",
        names=names,
        partitions=1,
        replication=1,
        choice=None,
    )
    async with asyncio.timeout(20):
        with pytest.raises(AccessRefused) as refused:
            await startup.start()
    await startup.stop()
    said = str(refused.value)
    assert expected.format(address=broker.address(listener)) in said
    port = broker.address(listener).rpartition(":")[2]
    assert f":{port}" in said or "the token server at " in said
    assert "\n" not in said
    for secret in (PASSWORD, PLAIN_PASSWORD, LIMITED_PASSWORD, WRONG, "nobody", LIMITED, PLAIN_USER):
        assert secret not in said


async def test_one_good_broker_is_enough(broker: SecureBroker) -> None:
    """As long as one of the brokers lets us in, another one's certificate stops nobody."""
    options = connection(broker, "TLS", {})
    options["bootstrap_servers"] = [broker.address("EXPIRED"), broker.address("TLS")]
    assert await access_problem(options) is None


@pytest.mark.parametrize("where", ["refuses", "hangs up", "is silent", "has no name"])
@pytest.mark.parametrize("listener", ["TLS", "SASLCLEAR"])
async def test_who_cannot_be_reached_refuses_nobody(broker: SecureBroker, where: str, listener: str) -> None:
    """A port that is closed, that only hangs up or is silent, and an unknown host: wait, nothing is wrong."""
    held: list[asyncio.StreamWriter] = []

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        if where == "hangs up":
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if where == "refuses":
        server.close()
        await server.wait_closed()
    options = connection(broker, listener, {})
    options["bootstrap_servers"] = [f"{'nowhere.invalid' if where == 'has no name' else '127.0.0.1'}:{port}"]
    assert await access_problem(options, within=0.5) is None
    for writer in held:
        writer.close()
    server.close()


# -- where it is said -----------------------------------------------------------------------------------


def test_the_worker_stops_with_the_reason(broker: SecureBroker, tmp_path: Path) -> None:
    """Through the command: exit code not 0 within 30 s, the sentence, and not the password."""
    settings = broker.settings("SASLTLS", SASL_PASSWORD=WRONG)
    with Installation(settings["KAFKA_BOOTSTRAP_SERVERS"], "refused", tmp_path, **settings) as place:
        worker = place.worker()
        worker.start()
        assert worker.wait(30) != 0
    log = worker.log.read_text()
    (line,) = [each for each in log.splitlines() if '"event":"start_refused"' in each]
    assert json.loads(line)["message"] == (
        f"this worker cannot start: the broker at {broker.address('SASLTLS')} knows STREAMS_KAFKA_SASL_USER,"
        " and STREAMS_KAFKA_SASL_PASSWORD is wrong"
    )
    assert WRONG not in log


def test_commands_say_it_too(broker: SecureBroker, tmp_path: Path) -> None:
    """Feeding, looking at dead letters and the doctor end with the same sentence instead of "no answer"."""
    (tmp_path / "actions.jsonl").write_bytes(keyed(action(1))[1])
    feed = ("feed", str(tmp_path / "actions.jsonl"))
    environ = {**os.environ, **broker.environ("TLS", CA_FILE=broker.certificates.path("other-ca"))}
    running = [
        (
            subprocess.Popen(
                [sys.executable, "-m", "streams", *command],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ),
            code,
        )
        for command, code in ((feed, 3), (("dead-letters", "list"), 3), (("doctor",), 3))
    ]
    for process, code in running:
        said, _ = process.communicate(timeout=60)
        assert said.count("is from an authority that is not in STREAMS_KAFKA_CA_FILE (") == 1, said
        assert "Traceback" not in said
        assert process.returncode == code, said


async def test_the_feed_works_over_tls(
    broker: SecureBroker, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """`streams feed` connects as the settings say, like the worker."""
    topic = unique_name("actions")
    await make_topics(broker.internal, 2, topic)
    path = tmp_path / "actions.jsonl"
    path.write_bytes(b"\n".join(keyed(action(number))[1] for number in range(3)))
    environ = {**os.environ, **broker.environ("SASLTLS"), "STREAMS_ACTIONS_TOPIC": topic}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams", "feed", str(path), env=environ, stdout=subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert said.startswith(b"sent 3 actions")
    assert process.returncode == 0
