"""Encrypted and as somebody: to a broker with TLS and SASL, and to SMTP servers with TLS, early or late."""

import asyncio
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import AuthResult

from examples.kafka import kafka_options
from examples.mailer.connection import smtp_options
from examples.mailer.letters import Letter, Letters
from examples.mailer.links import Links
from examples.mailer.settings import Settings
from examples.mailer.smtp import Accepted, Smtp, TryAgain
from examples.settings import WrongSetting, read_settings
from tests.clients import make_topics
from tests.integration.topics import send
from tests.mailer.processes import Mailbox, MailerProcess
from tests.mailer.test_letters import email
from tests.mailer.test_settings import GIVEN
from tests.security.broker import PLAIN_PASSWORD, PLAIN_USER, secure_broker

#: aiosmtpd does not see that a connection is encrypted from its first byte, and worries.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
PASSWORD = "open-sesame"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """An authority, and the file with its certificate."""
    made = trustme.CA()
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    made.cert_pem.write_to_path(str(file))
    return made, file


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def login(server: Any, session: Any, envelope: Any, mechanism: str, credentials: Any) -> AuthResult:
    right = (credentials.login, credentials.password) == (b"mailer", PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@pytest.fixture
def mailbox(authority: tuple[trustme.CA, Path]) -> Iterator[Callable[[str, str], Mailbox]]:
    """Make a server that wants TLS and a login: how it encrypts, and the name in its certificate."""
    made: list[Mailbox] = []

    def make(security: str, name: str = "127.0.0.1") -> Mailbox:
        context = server_context(authority[0], name)
        how = {
            "starttls": {"tls_context": context, "require_starttls": True},
            "tls": {"ssl_context": context},
        }
        login_with = {"authenticator": login, "auth_required": True, "auth_require_tls": security != "tls"}
        made.append(Mailbox(**how[security], **login_with))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop()


def smtp(mailbox: Mailbox, security: str, ca_file: Path, password: str = PASSWORD) -> Smtp:
    given = {"HOST": "127.0.0.1", "PORT": mailbox.port, "SECURITY": security, "CA_FILE": ca_file}
    given |= {"USER": "mailer", "PASSWORD": password}
    return Smtp(
        read_settings(Settings, GIVEN | {f"MAILER_SMTP_{name}": str(value) for name, value in given.items()})
    )


def letter() -> Letter:
    return Letters("confirm@example.org", Links("https://act.example.org", "a secret for the tests")).render(
        email()
    )


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_letters_leave_encrypted_and_after_a_login(
    mailbox: Callable[..., Mailbox], authority: tuple[trustme.CA, Path], security: str
) -> None:
    """STARTTLS and TLS from the first byte both work with a server that takes nothing else."""
    server = mailbox(security)
    assert await smtp(server, security, authority[1]).send(letter()) == Accepted()
    assert server.received() == {"ana@example.org": 1}


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_server_of_another_name_gets_no_password(
    mailbox: Callable[..., Mailbox], authority: tuple[trustme.CA, Path], security: str, tmp_path: Path
) -> None:
    """A certificate for another name, or from an authority that is not trusted, makes letters wait."""
    stranger, server = mailbox(security, "other.example.org"), mailbox(security)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other-ca.pem"))
    for mailbox_of, ca_file in ((stranger, authority[1]), (server, tmp_path / "other-ca.pem")):
        result = await smtp(mailbox_of, security, ca_file).send(letter())
        assert result == TryAgain("SSLCertVerificationError")
        assert not mailbox_of.letters


async def test_a_wrong_password_makes_letters_wait(
    mailbox: Callable[..., Mailbox], authority: tuple[trustme.CA, Path]
) -> None:
    """535 is about us: dead letters for all of them would empty the topic."""
    server = mailbox("starttls")
    wrong = smtp(server, "starttls", authority[1], "wrong")
    assert await wrong.send(letter()) == TryAgain("smtp_535")


async def test_a_server_without_starttls_gets_nothing(authority: tuple[trustme.CA, Path]) -> None:
    """If the offer of STARTTLS was taken out on the way, the letter waits, and the password is not sent."""
    with Mailbox() as server:
        assert await smtp(server, "starttls", authority[1]).send(letter()) == TryAgain("starttls_not_offered")
        assert not server.letters


def test_a_token_provider_reaches_the_kafka_clients() -> None:
    """With OAUTHBEARER clients are given who fetches tokens; a user beside it is refused."""
    given = {
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "SASL_MECHANISM": "OAUTHBEARER",
        "OAUTH_TOKEN_URL": "http://127.0.0.1:1/",
        "OAUTH_CLIENT_ID": "mailer",
        "OAUTH_CLIENT_SECRET": PASSWORD,
        "OAUTH_EXTENSIONS": "logicalCluster=lkc-1, identityPoolId=pool-1",
    }
    environ = GIVEN | {f"MAILER_KAFKA_{name}": value for name, value in given.items()}
    options = kafka_options(read_settings(Settings, environ))
    assert options["sasl_mechanism"] == "OAUTHBEARER"
    extensions = options["sasl_oauth_token_provider"].extensions()
    assert extensions == {"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}
    with pytest.raises(WrongSetting, match="KAFKA_SASL_USER is set and MAILER_KAFKA_SASL_MECHANISM is OAUTH"):
        read_settings(Settings, environ | {"MAILER_KAFKA_SASL_USER": "mailer"})


def test_mutual_tls_and_scram_reach_the_kafka_clients(
    authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    """A verifying context with the own certificate, mechanism, user and password."""
    mine = authority[0].issue_cert("mailer")
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    given = {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "CA_FILE": authority[1],
        "CLIENT_CERTIFICATE_FILE": tmp_path / "cert.pem",
        "CLIENT_KEY_FILE": tmp_path / "key.pem",
        "SASL_MECHANISM": "SCRAM-SHA-512",
        "SASL_USER": "mailer",
        "SASL_PASSWORD": PASSWORD,
    }
    environ = GIVEN | {f"MAILER_KAFKA_{name}": str(value) for name, value in given.items()}
    options = kafka_options(read_settings(Settings, environ))
    context = options.pop("ssl_context")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1
    assert options == {
        "bootstrap_servers": "localhost:9092",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "mailer",
        "sasl_plain_password": PASSWORD,
    }
    (tmp_path / "key.pem").write_text("junk")
    with pytest.raises(WrongSetting, match="MAILER_KAFKA_CLIENT_KEY_FILE must be"):
        kafka_options(read_settings(Settings, environ))


@pytest.mark.parametrize(
    ("make", "environ", "says"),
    [
        (
            kafka_options,
            {"MAILER_KAFKA_SECURITY_PROTOCOL": "SSL", "MAILER_KAFKA_CA_FILE": os.devnull},
            "KAFKA",
        ),
        (smtp_options, {"MAILER_SMTP_SECURITY": "tls", "MAILER_SMTP_CA_FILE": "/no/such/file"}, "SMTP"),
    ],
)
def test_authorities_that_are_none_stop_the_start(
    make: Callable[[Any], Any], environ: dict[str, str], says: str
) -> None:
    """The setting is named."""
    with pytest.raises(WrongSetting, match=f"MAILER_{says}_CA_FILE must be a PEM file"):
        make(read_settings(Settings, GIVEN | environ))


@pytest.mark.kafka
def test_the_whole_way_is_encrypted(
    mailbox: Callable[..., Mailbox], authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    """From a broker with TLS and SASL to a server with STARTTLS and a login; passwords come from files."""
    server = mailbox("starttls")
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "kafka-password").write_text(f"{PLAIN_PASSWORD}\n")
    with secure_broker(tmp_path) as broker:
        settings = {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ca_file": broker.certificates.path("ca"),
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_user": PLAIN_USER,
            "smtp_security": "starttls",
            "smtp_ca_file": authority[1],
            "smtp_user": "mailer",
            "smtp_password_file": tmp_path / "password",
            "alive_file": tmp_path / "alive",
        }
        make = (broker.address("SASLTLS"), "emails", server.port, tmp_path)
        with MailerProcess(*make, **settings, kafka_sasl_password="wrong") as refused:
            assert refused.process is not None
            assert refused.process.wait(30) == 1
        assert "The mailer cannot go on: " in refused.log.read_text()
        assert "Traceback" not in refused.log.read_text()
        assert refused.healthy() == 1

        asyncio.run(make_topics(broker.internal, 1, "emails"))
        asyncio.run(send(broker.internal, "emails", [(b"key", email())]))
        with MailerProcess(*make, **settings, kafka_sasl_password_file=tmp_path / "kafka-password") as mailer:
            mailer.until(lambda: bool(server.letters))
            assert mailer.healthy() == 0
            assert mailer.end(signal.SIGTERM) == 0
    assert server.received() == {"ana@example.org": 1}
