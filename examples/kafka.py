"""How the examples connect to Kafka: encrypted or not, whom they trust, and as whom."""

from __future__ import annotations

import ssl
from typing import Any

from examples.settings import KafkaSettings, WrongSetting


def kafka_options(settings: KafkaSettings) -> dict[str, Any]:
    """What every Kafka client is given to connect with.

    Raises:
        WrongSetting: a certificate or key cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = context = trusting(f"{settings.PREFIX}KAFKA_CA_FILE", settings.kafka_ca_file)
        if settings.kafka_client_certificate_file:
            _identify(context, settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_user
        options["sasl_plain_password"] = settings.kafka_sasl_password
    return options


def trusting(name: str, file: str) -> ssl.SSLContext:
    """Return a context that wants a certificate with the right name: from these authorities, or the system's.

    Raises:
        WrongSetting: the file, which the setting `name` names, has no certificates.
    """
    try:
        return ssl.create_default_context(cafile=file or None)
    except OSError:  # ssl.SSLError is one
        raise WrongSetting(f"{name} must be a PEM file with certificates.") from None


def _identify(context: ssl.SSLContext, settings: KafkaSettings) -> None:
    try:
        context.load_cert_chain(
            settings.kafka_client_certificate_file,
            settings.kafka_client_key_file,
            lambda: settings.kafka_client_key_password,  # without one, OpenSSL would ask at the terminal
        )
    except (OSError, ValueError):
        name = f"{settings.PREFIX}KAFKA_CLIENT"
        raise WrongSetting(
            f"{name}_CERTIFICATE_FILE and {name}_KEY_FILE must be a certificate and its key, in PEM files"
            f" that can be read; {name}_KEY_PASSWORD must open the key."
        ) from None
