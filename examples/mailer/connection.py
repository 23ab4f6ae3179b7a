"""How the mailer connects to Kafka and to the SMTP server: encrypted or not, whom it trusts, and as whom."""

from __future__ import annotations

import ssl
from typing import Any

from examples.mailer.settings import Settings, WrongSetting


def kafka_options(settings: Settings) -> dict[str, Any]:
    """What every Kafka client is given to connect with.

    Raises:
        WrongSetting: a certificate or key cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = context = _trusting("MAILER_KAFKA_CA_FILE", settings.kafka_ca_file)
        if settings.kafka_client_certificate_file:
            _identify(context, settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_user
        options["sasl_plain_password"] = settings.kafka_sasl_password
    return options


def smtp_options(settings: Settings) -> dict[str, Any]:
    """What aiosmtplib is given to connect with.

    Raises:
        WrongSetting: the file of authorities cannot be used.
    """
    options: dict[str, Any] = {
        "hostname": settings.smtp_host,
        "port": settings.smtp_port,
        "username": settings.smtp_user or None,
        "password": settings.smtp_password or None,
        "use_tls": settings.smtp_security == "tls",
        # Never "if it is offered": somebody in between could take the offer out.
        "start_tls": settings.smtp_security == "starttls",
    }
    if settings.smtp_security != "none":
        options["tls_context"] = _trusting("MAILER_SMTP_CA_FILE", settings.smtp_ca_file)
    return options


def _trusting(name: str, file: str) -> ssl.SSLContext:
    """A context that wants a certificate with the right name: from these authorities, or the system's."""
    try:
        return ssl.create_default_context(cafile=file or None)
    except OSError:  # ssl.SSLError is one
        raise WrongSetting(f"{name} must be a PEM file with certificates.") from None


def _identify(context: ssl.SSLContext, settings: Settings) -> None:
    try:
        context.load_cert_chain(
            settings.kafka_client_certificate_file,
            settings.kafka_client_key_file,
            lambda: settings.kafka_client_key_password,  # without one, OpenSSL would ask at the terminal
        )
    except (OSError, ValueError):
        raise WrongSetting(
            "MAILER_KAFKA_CLIENT_CERTIFICATE_FILE and MAILER_KAFKA_CLIENT_KEY_FILE must be a certificate and "
            "its key, in PEM files that can be read; MAILER_KAFKA_CLIENT_KEY_PASSWORD must open the key."
        ) from None
