"""What a person is told of a broker that does not let us in. Pure: values in, one sentence out.

Codes are OpenSSL's (``X509_V_ERR_…`` in x509_vfy.h); alerts are named as OpenSSL names those of RFC 8446,
section 6.2. No sentence holds a user name or a password: the two get swapped.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from streams.settings.connection import TlsContext

_PROTOCOL = "STREAMS_KAFKA_SECURITY_PROTOCOL"
_CERTIFICATE = "STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE"
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 27})
_OTHER_NAME = frozenset({62, 64})
_NO_CERTIFICATE = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE", "CERTIFICATE_UNKNOWN")
_ABOUT_CERTIFICATES = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")
_ABOUT_VERSIONS = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "HANDSHAKE_FAILURE", "NO_SHARED_CIPHER")
_WITHOUT_TLS = {"SSL": "PLAINTEXT", "SASL_SSL": "SASL_PLAINTEXT"}
_WITH_TLS = {"PLAINTEXT": "SSL", "SASL_PLAINTEXT": "SASL_SSL"}
_WITHOUT_SASL = {"SASL_SSL": "SSL", "SASL_PLAINTEXT": "PLAINTEXT"}
_WITH_SASL = {"SSL": "SASL_SSL", "PLAINTEXT": "SASL_PLAINTEXT"}


class BrokerAddress(NamedTuple):
    """Where a broker is, and who says so: our settings, or the cluster."""

    host: str
    port: int
    source: Literal["settings", "advertised"] = "settings"

    def __str__(self) -> str:
        """As sentences name it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        told = ", which the cluster advertises," if self.source == "advertised" else ""
        return f"the broker at {host}:{self.port}{told}"


def of_certificate(broker: BrokerAddress, code: int, message: str, context: ssl.SSLContext | None) -> str:
    """The broker's certificate does not pass our checks."""
    if code == _EXPIRED:
        return f"the certificate of {broker} has expired: renew it there (is this machine's clock right?)"
    if code == _NOT_YET_VALID:
        return f"the certificate of {broker} is not valid yet: is this machine's clock right?"
    if code in _OTHER_NAME:
        remedy = (
            "the broker's advertised.listeners must have a name that its certificate has"
            if broker.source == "advertised"
            else "STREAMS_KAFKA_BOOTSTRAP_SERVERS must call it by a name that its certificate has"
        )
        return (
            f"the certificate of {broker} is for another host name than {broker.host}: {remedy}"
            " (STREAMS_KAFKA_HOST_NAME_CHECK=off gives up this check)"
        )
    if code in _UNKNOWN_AUTHORITY:
        if isinstance(context, TlsContext) and context.ca_file is not None:
            return (
                f"the certificate of {broker} is from an authority that is not in STREAMS_KAFKA_CA_FILE"
                f" ({context.ca_file})"
            )
        return (
            f"the certificate of {broker} is from an authority that this system does not know:"
            " set STREAMS_KAFKA_CA_FILE to the authority's certificate"
        )
    return f"the certificate of {broker} cannot be trusted ({message}): look at STREAMS_KAFKA_CA_FILE"


def of_tls_alert(broker: BrokerAddress, reason: str | None, context: ssl.SSLContext | None) -> str | None:
    """The broker ends the handshake, and says why; None if it is not about certificates or versions."""
    reason = reason or ""
    certificate = context.client_certificate if isinstance(context, TlsContext) else None
    if "ALERT" in reason and certificate is None and reason.endswith(_NO_CERTIFICATE):
        return f"{broker} asks for a client certificate: set {_CERTIFICATE} and STREAMS_KAFKA_CLIENT_KEY_FILE"
    if "ALERT" in reason and any(word in reason for word in _ABOUT_CERTIFICATES):
        return (
            f"{broker} refuses the certificate in {_CERTIFICATE} ({certificate}): it is from an authority"
            " that the broker does not trust, or has expired"
        )
    if any(word in reason for word in _ABOUT_VERSIONS):
        return f"{broker} and this worker have no version of TLS in common: the worker speaks 1.2 and 1.3"
    return None


def no_tls(broker: BrokerAddress, protocol: str) -> str:
    """TLS against a port without."""
    return _other_protocol(f"{broker} speaks no TLS there", protocol, _WITHOUT_TLS)


def asks_for_tls(broker: BrokerAddress, protocol: str) -> str:
    """No TLS against a port with it."""
    return _other_protocol(f"{broker} speaks TLS there", protocol, _WITH_TLS)


def takes_no_password(broker: BrokerAddress, protocol: str) -> str:
    """SASL against a port without."""
    return _other_protocol(f"{broker} takes no password there", protocol, _WITHOUT_SASL)


def asks_for_password(broker: BrokerAddress, protocol: str, offered: Iterable[str]) -> str:
    """No SASL against a port with it."""
    return (
        f"{broker} asks for user and password and {_PROTOCOL} is {protocol}: set {_WITH_SASL[protocol]},"
        f" with a STREAMS_KAFKA_SASL_MECHANISM of {_listed(offered)}"
    )


def without_mechanism(broker: BrokerAddress, mechanism: str, offered: Iterable[str]) -> str:
    """The broker does not have our mechanism."""
    return f"{broker} does not offer STREAMS_KAFKA_SASL_MECHANISM {mechanism}: it offers {_listed(offered)}"


def of_password(broker: BrokerAddress, mechanism: str, steps: int) -> str:
    """The broker refuses user, password or token, after so many SASL messages of ours.

    In SCRAM (RFC 5802) the first message holds the user, and the second proves the password.
    """
    if mechanism == "OAUTHBEARER":
        return (
            f"{broker} refuses our token: it may expect another issuer, audience or scope"
            " (STREAMS_KAFKA_OAUTH_SCOPE, STREAMS_KAFKA_OAUTH_EXTENSIONS), or other AWS rights"
            " (STREAMS_KAFKA_AWS_REGION)"
        )
    if mechanism == "PLAIN":
        return (
            f"{broker} refuses STREAMS_KAFKA_SASL_USER or STREAMS_KAFKA_SASL_PASSWORD: one of them is wrong,"
            " and with PLAIN a broker does not tell which"
        )
    if steps < 2:
        return f"{broker} knows no STREAMS_KAFKA_SASL_USER like ours that has a password for {mechanism}"
    return f"{broker} knows STREAMS_KAFKA_SASL_USER, and STREAMS_KAFKA_SASL_PASSWORD is wrong"


def _other_protocol(found: str, protocol: str, instead: Mapping[str, str]) -> str:
    return f"{found} and {_PROTOCOL} is {protocol}: set {instead[protocol]}, or name another port"


def _listed(mechanisms: Iterable[str]) -> str:
    return " or ".join(mechanisms) or "none"
