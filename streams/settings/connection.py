"""How every Kafka client of ours connects: encrypted or not, by whom it trusts, and as whom.

Protocols, mechanisms and their names are Kafka's (``security.protocol``, ``sasl.mechanism``). Certificates,
keys and passwords are read once: rotated ones are taken by a restart. Tokens are renewed while clients run.
"""

import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from streams.authentication import msk_iam
from streams.authentication.client_credentials import ClientCredentials
from streams.authentication.sessions import end_sessions_in_time
from streams.authentication.tokens import TokenProvider
from streams.settings.table import Settings

ENCRYPTED = frozenset({"SSL", "SASL_SSL"})
AUTHENTICATED = frozenset({"SASL_PLAINTEXT", "SASL_SSL"})
_OF_TLS = (
    "kafka_ca_file",
    "kafka_client_certificate_file",
    "kafka_client_key_file",
    "kafka_client_key_password",
)
_OF_USER = ("kafka_sasl_user", "kafka_sasl_password")
#: What each mechanism needs, and what it may have besides.
_NEEDED = {
    "PLAIN": _OF_USER,
    "SCRAM-SHA-256": _OF_USER,
    "SCRAM-SHA-512": _OF_USER,
    "OAUTHBEARER": ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret"),
    "AWS_MSK_IAM": ("kafka_aws_region",),
}
_ALLOWED = {"OAUTHBEARER": ("kafka_oauth_scope", "kafka_oauth_extensions", "kafka_oauth_ca_file")}
_OF_SASL = dict.fromkeys(field for fields in (*_NEEDED.values(), *_ALLOWED.values()) for field in fields)

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
        end_sessions_in_time()
        options |= _identity(settings)
    return options


def _identity(s: Settings) -> dict[str, Any]:
    if s.kafka_sasl_mechanism == "AWS_MSK_IAM":  # a name of AWS's Java client; to the broker, it is a token
        provider = TokenProvider(partial(msk_iam.fetch, str(s.kafka_aws_region)))
        return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": provider}
    if s.kafka_sasl_mechanism == "OAUTHBEARER":
        credentials = ClientCredentials(
            str(s.kafka_oauth_token_url),
            str(s.kafka_oauth_client_id),
            _text(s.kafka_oauth_client_secret) or "",
            s.kafka_oauth_scope,
            None
            if s.kafka_oauth_ca_file is None
            else _trusting("kafka_oauth_ca_file", s.kafka_oauth_ca_file),
        )
        extensions = dict(part.split("=", 1) for part in s.kafka_oauth_extensions or ())
        return {
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauth_token_provider": TokenProvider(credentials.fetch, extensions),
        }
    return {
        "sasl_mechanism": s.kafka_sasl_mechanism,
        "sasl_plain_username": s.kafka_sasl_user,
        "sasl_plain_password": _text(s.kafka_sasl_password),
    }


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


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
    mechanism = s.kafka_sasl_mechanism
    if s.kafka_security_protocol not in AUTHENTICATED:
        for field in ("kafka_sasl_mechanism", *_OF_SASL):
            if getattr(s, field) is not None:
                yield (
                    {field, "kafka_security_protocol"},
                    f"{_name(field)} is set and {protocol}: allowed with it are SASL_PLAINTEXT and SASL_SSL",
                )
        return
    if mechanism is None:
        *others, last = _NEEDED
        yield (
            {"kafka_sasl_mechanism", "kafka_security_protocol"},
            f"{protocol} and {_name('kafka_sasl_mechanism')} is missing: {', '.join(others)} or {last}",
        )
        return
    needed, allowed = _NEEDED[mechanism], _ALLOWED.get(mechanism, ())
    why = f"{protocol}" if needed == _OF_USER else f"{_name('kafka_sasl_mechanism')} is {mechanism}"
    for field in _OF_SASL:
        given = getattr(s, field) is not None
        if field in needed and not given:
            yield {field, "kafka_sasl_mechanism"}, f"{why} and {_name(field)} is missing"
        if given and field not in (*needed, *allowed):
            yield (
                {field, "kafka_sasl_mechanism"},
                f"{_name(field)} is set and {_name('kafka_sasl_mechanism')} is {mechanism},"
                " which does not use it",
            )
    if mechanism == "AWS_MSK_IAM" and not msk_iam.is_installed():
        yield (
            {"kafka_sasl_mechanism"},
            f"{_name('kafka_sasl_mechanism')} is {mechanism}, and its library is missing:"
            " pip install 'confirmation-streams[msk]'",
        )
    if s.kafka_oauth_ca_file is not None:
        try:
            _trusting("kafka_oauth_ca_file", s.kafka_oauth_ca_file)
        except Unusable as error:
            yield {error.field}, str(error)


def _context(s: Settings) -> ssl.SSLContext:
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)  # TLS 1.2 and newer; certificates are required
    context.ca_file, context.client_certificate = s.kafka_ca_file, s.kafka_client_certificate_file
    context.check_hostname = s.kafka_host_name_check == "required"
    if s.kafka_ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, "kafka_ca_file", s.kafka_ca_file)
    if s.kafka_client_certificate_file is not None and s.kafka_client_key_file is not None:
        _load_identity(context, s, s.kafka_client_certificate_file, s.kafka_client_key_file)
    return context


def _trusting(field: str, path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _trust(context, field, path)
    return context


def _trust(context: ssl.SSLContext, field: str, path: Path) -> None:
    _readable(field, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise Unusable(field, f"({path}) holds no certificate in PEM form") from None


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
