"""How every Kafka client of ours connects: encrypted or not, by whom it trusts, and as whom.

Protocols, mechanisms and their names are Kafka's (``security.protocol``, ``sasl.mechanism``). Certificates,
keys and passwords are read once: rotated ones are taken by a restart.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streams.settings.table import Settings

ENCRYPTED = frozenset({"SSL", "SASL_SSL"})
AUTHENTICATED = frozenset({"SASL_PLAINTEXT", "SASL_SSL"})
_OF_TLS = (
    "kafka_ca_file",
    "kafka_client_certificate_file",
    "kafka_client_key_file",
    "kafka_client_key_password",
)
_OF_SASL = ("kafka_sasl_mechanism", "kafka_sasl_user", "kafka_sasl_password")

Contradiction = tuple[set[str], str]


class Unusable(Exception):
    """A certificate or key cannot be used. ``field`` is the setting; the text says why, without content."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{_name(field)} {why}")
        self.field = field


class TlsContext(ssl.SSLContext):
    """Remembers what it was made from, for sentences about it; OpenSSL's own does not tell."""

    ca_file: Path | None = None
    client_certificate: Path | None = None


def client_options(settings: Settings) -> dict[str, Any]:
    """What every Kafka client of ours is given to connect with.

    Raises:
        Unusable: a certificate or key file changed since the settings were loaded, and is no longer valid.
    """
    options: dict[str, Any] = {"bootstrap_servers": list(settings.kafka_bootstrap_servers)}
    protocol = settings.kafka_security_protocol
    if protocol != "PLAINTEXT":
        options["security_protocol"] = protocol
    if protocol in ENCRYPTED:
        options["ssl_context"] = _context(settings)
    if protocol in AUTHENTICATED:
        password = settings.kafka_sasl_password
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_user
        options["sasl_plain_password"] = None if password is None else password.get_secret_value()
    return options


def connection_inconsistencies(s: Settings) -> Iterator[Contradiction]:
    """Settings of the connection that are each allowed and impossible together; files are looked into."""
    protocol = f"STREAMS_KAFKA_SECURITY_PROTOCOL is {s.kafka_security_protocol}"
    encrypted = s.kafka_security_protocol in ENCRYPTED
    for field in _OF_TLS:
        if getattr(s, field) is not None and not encrypted:
            yield (
                {field, "kafka_security_protocol"},
                f"{_name(field)} is set and {protocol}: allowed with it are SSL and SASL_SSL",
            )
    if (s.kafka_client_certificate_file is None) != (s.kafka_client_key_file is None):
        yield (
            {"kafka_client_certificate_file", "kafka_client_key_file"},
            "STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE and STREAMS_KAFKA_CLIENT_KEY_FILE go together: "
            "one is missing",
        )
    elif encrypted:
        try:
            _context(s)
        except Unusable as error:
            yield {error.field, "kafka_client_key_password"}, str(error)
    yield from _of_sasl(s, protocol)


def _of_sasl(s: Settings, protocol: str) -> Iterator[Contradiction]:
    for field in _OF_SASL:
        given = getattr(s, field) is not None
        if given and s.kafka_security_protocol not in AUTHENTICATED:
            yield (
                {field, "kafka_security_protocol"},
                f"{_name(field)} is set and {protocol}: allowed with it are SASL_PLAINTEXT and SASL_SSL",
            )
        if not given and s.kafka_security_protocol in AUTHENTICATED:
            choice = ": PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512" if field == "kafka_sasl_mechanism" else ""
            yield {field, "kafka_security_protocol"}, f"{protocol} and {_name(field)} is missing{choice}"


def _context(s: Settings) -> ssl.SSLContext:
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)  # TLS 1.2 and newer; certificates are required
    context.ca_file, context.client_certificate = s.kafka_ca_file, s.kafka_client_certificate_file
    context.check_hostname = s.kafka_host_name_check == "required"
    if s.kafka_ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _readable("kafka_ca_file", s.kafka_ca_file)
        try:
            context.load_verify_locations(s.kafka_ca_file)
        except ssl.SSLError:
            raise Unusable("kafka_ca_file", f"({s.kafka_ca_file}) holds no certificate in PEM form") from None
    if s.kafka_client_certificate_file is not None and s.kafka_client_key_file is not None:
        _load_identity(context, s, s.kafka_client_certificate_file, s.kafka_client_key_file)
    return context


def _load_identity(context: ssl.SSLContext, s: Settings, certificate: Path, key: Path) -> None:
    _readable("kafka_client_certificate_file", certificate)
    _readable("kafka_client_key_file", key)
    secret = s.kafka_client_key_password
    asked = []

    def password() -> str:
        asked.append(True)  # without a function, OpenSSL would ask at the terminal
        return "" if secret is None else secret.get_secret_value()

    try:
        context.load_cert_chain(certificate, key, password)
    except (ssl.SSLError, ValueError) as error:  # ValueError: a password that is too long
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise Unusable(
                "kafka_client_key_file",
                f"({key}) is not the key of the certificate in STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE "
                f"({certificate})",
            ) from None
        if asked:
            wrong = "is missing" if secret is None else "does not open it"
            raise Unusable(
                "kafka_client_key_file",
                f"({key}) is encrypted and STREAMS_KAFKA_CLIENT_KEY_PASSWORD {wrong}",
            ) from None
        if not _holds_certificate(certificate):
            raise Unusable(
                "kafka_client_certificate_file", f"({certificate}) holds no certificate in PEM form"
            ) from None
        raise Unusable("kafka_client_key_file", f"({key}) holds no private key in PEM form") from None


def _readable(field: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise Unusable(field, f"({path}) cannot be read: {error.strerror}") from None


def _holds_certificate(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _name(field: str) -> str:
    return f"STREAMS_{field.upper()}"
