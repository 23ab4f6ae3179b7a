"""Faust's own clients get the same options as all others."""

import ssl
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from streams.authentication.tokens import Token, TokenProvider
from streams.kafka.credentials import credentials

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TOKENS = TokenProvider(lambda: Token("t", 60))
USER = {"sasl_plain_username": "worker", "sasl_plain_password": "open-sesame"}


@pytest.mark.parametrize(
    "options",
    [
        {"security_protocol": "PLAINTEXT"},
        {"security_protocol": "SSL", "ssl_context": CONTEXT},
        *(
            {
                "security_protocol": protocol,
                "ssl_context": context,
                "sasl_mechanism": "OAUTHBEARER",
                "sasl_oauth_token_provider": TOKENS,
            }
            for protocol, context in (("SASL_PLAINTEXT", None), ("SASL_SSL", CONTEXT))
        ),
        *(
            {"security_protocol": protocol, "ssl_context": context, "sasl_mechanism": mechanism, **USER}
            for protocol, context in (("SASL_PLAINTEXT", None), ("SASL_SSL", CONTEXT))
            for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
        ),
    ],
)
def test_what_goes_in_comes_out_at_the_driver(options: dict[str, Any]) -> None:
    """Every protocol and mechanism arrives at the driver's clients unchanged."""
    given = {name: value for name, value in options.items() if value is not None}
    assert credentials_to_aiokafka_auth(credentials(given)) == options
