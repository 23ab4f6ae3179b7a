"""What is said of brokers that do not let us in; what a real broker says is in tests/security."""

import ssl
from pathlib import Path

import pytest

from streams.kafka.connection_advice import BrokerAddress, of_certificate, of_tls_alert, without_mechanism
from streams.settings.connection import TlsContext

PLACE = BrokerAddress("kafka.example.org", 9093)


def context(certificate: str | None = None) -> TlsContext:
    made = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    made.client_certificate = None if certificate is None else Path(certificate)
    return made


@pytest.mark.parametrize(
    "reason",
    [
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",  # OpenSSL and Go, TLS 1.3
        "SSLV3_ALERT_BAD_CERTIFICATE",  # Java, and others with TLS 1.2
        "SSLV3_ALERT_HANDSHAKE_FAILURE",  # older ones
    ],
)
def test_a_missing_certificate_is_named_whatever_the_broker_calls_it(reason: str) -> None:
    """Servers have several alerts for it; without a certificate of ours they all mean the same."""
    said = of_tls_alert(PLACE, reason, context())
    assert said is not None
    assert "asks for a client certificate: set STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE" in said


@pytest.mark.parametrize(
    "reason",
    ["TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"],
)
def test_a_refused_certificate_is_named_by_its_file(reason: str) -> None:
    """With a certificate of ours the same kind of alert is about that one."""
    said = of_tls_alert(PLACE, reason, context("/pems/worker.pem"))
    assert said is not None
    assert "refuses the certificate in STREAMS_KAFKA_CLIENT_CERTIFICATE_FILE (/pems/worker.pem)" in said


@pytest.mark.parametrize("reason", ["TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"])
def test_an_old_broker_is_told_from_a_wrong_certificate(reason: str) -> None:
    """No common version of TLS is no matter of certificates."""
    said = of_tls_alert(PLACE, reason, context("/pems/worker.pem"))
    assert said is not None
    assert "no version of TLS in common" in said


def test_what_is_no_alert_is_not_explained() -> None:
    """A connection that broke off says nothing of us."""
    assert of_tls_alert(PLACE, "UNEXPECTED_EOF_WHILE_READING", context()) is None
    assert of_tls_alert(PLACE, None, context()) is None


def test_a_clock_is_suspected_too() -> None:
    """A certificate from the future is more often a clock from the past."""
    assert "is not valid yet: is this machine's clock right?" in of_certificate(PLACE, 9, "", None)


def test_other_codes_are_told_in_the_library_s_words() -> None:
    """What has no sentence of its own is still about that certificate, and names where to look."""
    said = of_certificate(PLACE, 26, "unsuitable certificate purpose", None)
    assert said.startswith("the certificate of the broker at kafka.example.org:9093 cannot be trusted")
    assert "unsuitable certificate purpose" in said


def test_addresses_are_written_as_the_settings_write_them() -> None:
    """IPv6 in brackets; a broker that the cluster named is told from one that the settings name."""
    assert str(BrokerAddress("::1", 9093)) == "the broker at [::1]:9093"
    assert "which the cluster advertises" in without_mechanism(
        BrokerAddress("b", 1, "advertised"), "PLAIN", []
    )
