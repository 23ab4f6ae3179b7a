"""One real broker with a listener for each way to connect, right ones and wrong ones, and an authorizer."""

import datetime
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import trustme
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.ports import HeldPort
from tests.security.token_server import AUDIENCE, CLIENT, ISSUER, SECRET, TokenServer, token_server

HOST = "127.0.0.1"
USER, PASSWORD = "worker", "open-sesame,=1"  # a comma and an equals sign are special in SCRAM
PLAIN_USER, PLAIN_PASSWORD = "plain-worker", "plain-sesame"
LIMITED, LIMITED_PASSWORD = "limited", "few-rights"

#: Listener: its protocol, and the file with the broker's certificate.
LISTENERS = {
    "PLAINTEXT": ("PLAINTEXT", None),
    "TLS": ("SSL", "broker"),
    "MUTUAL": ("SSL", "broker"),
    "MUTUAL12": ("SSL", "broker"),
    "EXPIRED": ("SSL", "expired"),
    "ELSEWHERE": ("SSL", "elsewhere"),
    "RENAMED": ("SSL", "broker"),
    "SASLTLS": ("SASL_SSL", "broker"),
    "SASLCLEAR": ("SASL_PLAINTEXT", None),
    "OAUTH": ("SASL_SSL", "broker"),
}
#: Milliseconds that a session lasts at the listener OAUTH, if its token lasts as long.
SESSION_MS = 2_000


class Certificates:
    """Two authorities, and what they vouch for, as PEM files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        ours, theirs = trustme.CA(), trustme.CA()
        ours.cert_pem.write_to_path(str(folder / "ca.pem"))
        theirs.cert_pem.write_to_path(str(folder / "other-ca.pem"))
        self._write("broker", ours.issue_cert(HOST, "localhost"))
        self._write("expired", ours.issue_cert(HOST, not_after=yesterday))
        self._write("elsewhere", ours.issue_cert("kafka.example.org"))
        self._write("client", ours.issue_cert("client", common_name="tls-worker"))
        self._write("stranger", theirs.issue_cert("client", common_name="tls-worker"))
        self._write("late-client", ours.issue_cert("client", common_name="tls-worker", not_after=yesterday))

    def path(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")

    def _write(self, name: str, issued: trustme.LeafCert) -> None:
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,  # the only form that Kafka's PEM store takes
            serialization.NoEncryption(),
        )
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        (self.folder / f"{name}.pem").write_bytes(pem + chain)


class SecureBroker:
    """Where its listeners are, and settings that connect to them."""

    def __init__(self, certificates: Certificates, ports: Mapping[str, int], tokens: TokenServer) -> None:
        self.certificates = certificates
        self.tokens = tokens
        self._ports = ports

    def address(self, listener: str) -> str:
        return f"{HOST}:{self._ports[listener]}"

    @property
    def internal(self) -> str:
        """Without a password, and with every right: for what tests make and look at."""
        return self.address("PLAINTEXT")

    def settings(self, listener: str, **changed: str | None) -> dict[str, str]:
        """The right settings for a listener, without the prefix; None takes one away."""
        protocol, _ = LISTENERS[listener]
        given: dict[str, str | None] = {
            "KAFKA_BOOTSTRAP_SERVERS": self.address(listener),
            "KAFKA_SECURITY_PROTOCOL": protocol,
        }
        if "SSL" in protocol:
            given["KAFKA_CA_FILE"] = self.certificates.path("ca")
        if listener.startswith("MUTUAL"):
            given["KAFKA_CLIENT_CERTIFICATE_FILE"] = self.certificates.path("client")
            given["KAFKA_CLIENT_KEY_FILE"] = self.certificates.path("client")
        if listener == "OAUTH":
            given |= {
                "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
                "KAFKA_OAUTH_TOKEN_URL": self.tokens.url,
                "KAFKA_OAUTH_CLIENT_ID": CLIENT,
                "KAFKA_OAUTH_CLIENT_SECRET": SECRET,
            }
        elif protocol.startswith("SASL"):
            given |= {
                "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512" if listener == "SASLTLS" else "PLAIN",
                "KAFKA_SASL_USER": USER if listener == "SASLTLS" else PLAIN_USER,
                "KAFKA_SASL_PASSWORD": PASSWORD if listener == "SASLTLS" else PLAIN_PASSWORD,
            }
        given |= {f"KAFKA_{name}": value for name, value in changed.items()}
        return {name: value for name, value in given.items() if value is not None}

    def environ(self, listener: str, **changed: str | None) -> dict[str, str]:
        return {f"STREAMS_{name}": value for name, value in self.settings(listener, **changed).items()}


def _properties(certificates: Certificates, ports: Mapping[str, int], tokens: TokenServer) -> dict[str, str]:
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    bearer = "org.apache.kafka.common.security.oauthbearer"
    clients = ",".join(f"{name}://{HOST}:{ports[name]}" for name in LISTENERS)
    # Another name of this machine, and not one of the certificate's.
    advertised = clients.replace(f"RENAMED://{HOST}", "RENAMED://127.1")
    protocols = ",".join(f"{name}:{protocol}" for name, (protocol, _) in LISTENERS.items())
    properties = {
        "listeners": f"{clients},CONTROLLER://{HOST}:{ports['CONTROLLER']}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{ports['CONTROLLER']}",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Whoever comes without a name: the broker itself, and tests that look at it.
        "super.users": f"User:ANONYMOUS;User:{USER};User:{PLAIN_USER};User:tls-worker;User:{CLIENT}",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual12.ssl.client.auth": "required",
        "listener.name.mutual12.ssl.enabled.protocols": "TLSv1.2",
        "listener.name.sasltls.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.saslclear.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasltls.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.sasltls.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.oauth.oauthbearer.sasl.jaas.config": f"{bearer}.OAuthBearerLoginModule required;",
        "listener.name.oauth.oauthbearer.sasl.server.callback.handler.class": (
            f"{bearer}.OAuthBearerValidatorCallbackHandler"
        ),
        "listener.name.oauth.oauthbearer.connections.max.reauth.ms": str(SESSION_MS),
        "sasl.oauthbearer.jwks.endpoint.url": tokens.jwks_url,
        "sasl.oauthbearer.expected.audience": AUDIENCE,
        "sasl.oauthbearer.expected.issuer": ISSUER,
        "num.partitions": "2",
    }
    for name, (protocol, certificate) in LISTENERS.items():
        prefix = f"listener.name.{name.lower()}"
        if certificate is not None:
            properties |= {
                f"{prefix}.ssl.keystore.type": "PEM",
                f"{prefix}.ssl.keystore.location": certificates.path(certificate),
                f"{prefix}.ssl.truststore.type": "PEM",
                f"{prefix}.ssl.truststore.location": certificates.path("ca"),
            }
        if protocol.startswith("SASL") and name != "OAUTH":
            properties[f"{prefix}.plain.sasl.jaas.config"] = f'{plain} user_{PLAIN_USER}="{PLAIN_PASSWORD}";'
    return properties


def administrator(broker: SecureBroker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.internal})


def _add_scram_users(broker: SecureBroker) -> None:
    mechanisms = {
        USER: (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512),
        LIMITED: (ScramMechanism.SCRAM_SHA_512,),
    }
    passwords = {USER: PASSWORD, LIMITED: LIMITED_PASSWORD}
    client = administrator(broker)  # kept: it is torn down, with its answers, when nobody has it
    for user, several in mechanisms.items():
        for mechanism in several:  # a user's credentials are altered one a request
            change = UserScramCredentialUpsertion(
                user, ScramCredentialInfo(mechanism, 4096), passwords[user].encode()
            )
            for done in client.alter_user_scram_credentials([change]).values():
                done.result(30)


@contextmanager
def secure_broker(folder: Path) -> Iterator[SecureBroker]:
    certificates = Certificates(folder)
    # Held, so that no two listeners are given the same one.
    held = {name: HeldPort() for name in (*LISTENERS, "CONTROLLER")}
    ports = {name: port.number for name, port in held.items()}
    with token_server() as tokens:
        kafka = EmbeddedKafka(
            port=ports["PLAINTEXT"],
            properties=_properties(certificates, ports, tokens),
            heap="256m",
            jvm_options=[f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.jwks_url}"],
        )
        with kafka:
            broker = SecureBroker(certificates, ports, tokens)
            _add_scram_users(broker)
            yield broker
    for port in held.values():
        port.release()
