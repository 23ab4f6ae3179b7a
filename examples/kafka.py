"""How the examples connect to Kafka: encrypted or not, whom they trust, and as whom."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

from examples.settings import KafkaSettings, WrongSetting
from streams.authentication import msk_iam
from streams.authentication.client_credentials import ClientCredentials
from streams.authentication.sessions import end_sessions_in_time
from streams.authentication.tokens import TokenProvider


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
        end_sessions_in_time()
        options |= _who_we_are(settings)
    return options


def _who_we_are(settings: KafkaSettings) -> dict[str, Any]:
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        name = f"{settings.PREFIX}KAFKA_OAUTH"
        credentials = ClientCredentials(
            settings.kafka_oauth_token_url,
            settings.kafka_oauth_client_id,
            settings.kafka_oauth_client_secret,
            settings.kafka_oauth_scope or None,
            trusting(f"{name}_CA_FILE", settings.kafka_oauth_ca_file),
            name,
        )
        parts = [part.partition("=") for part in settings.kafka_oauth_extensions.split(",") if part]
        extensions = {key.strip(): value.strip() for key, _, value in parts}
        provider = TokenProvider(credentials.fetch, extensions)
    elif settings.kafka_sasl_mechanism == "AWS_MSK_IAM":
        if not msk_iam.is_installed():
            raise WrongSetting(
                f"{settings.PREFIX}KAFKA_SASL_MECHANISM is AWS_MSK_IAM, and its library is missing:"
                " pip install 'confirmation-streams[msk]'."
            )
        provider = TokenProvider(partial(msk_iam.fetch, settings.kafka_aws_region))
    else:
        return {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_user,
            "sasl_plain_password": settings.kafka_sasl_password,
        }
    return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": provider}


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
