"""The options of an aiokafka client, as Faust wants them: its own clients connect like all others."""

from collections.abc import Mapping
from typing import Any

from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT


def credentials(options: Mapping[str, Any]) -> CredentialsT | None:
    """Return what makes Faust's driver connect with these options; None for PLAINTEXT.

    Args:
        options: ``security_protocol``, ``ssl_context``, ``sasl_mechanism``, ``sasl_plain_username``,
            ``sasl_plain_password`` and ``sasl_oauth_token_provider``, as aiokafka's clients take them.
    """
    if "sasl_oauth_token_provider" in options:
        return OAuthCredentials(
            oauth_cb=options["sasl_oauth_token_provider"], ssl_context=options.get("ssl_context")
        )
    if "sasl_mechanism" in options:
        # The protocol follows from the context: SASL_SSL with one, SASL_PLAINTEXT without.
        return SASLCredentials(
            mechanism=options["sasl_mechanism"],
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            ssl_context=options.get("ssl_context"),
        )
    return SSLCredentials(options["ssl_context"]) if "ssl_context" in options else None
