"""Tokens for Amazon MSK: a signature with AWS credentials, made on this machine, in the place of a token.

AWS's own library finds the credentials: environment, profile, the role of a pod or of a machine.
"""

import time
from importlib.util import find_spec

from streams.authentication.tokens import Token, TokenRefused

_LIBRARY = "aws_msk_iam_sasl_signer"


def is_installed() -> bool:
    """Return whether the extra ``msk`` is installed."""
    return find_spec(_LIBRARY) is not None


def fetch(region: str) -> Token:
    """Sign; finding the credentials may ask AWS's servers.

    Args:
        region: of the cluster, as ``eu-central-1``.

    Raises:
        TokenRefused: there are no AWS credentials.
        Exception: of AWS's library, where finding them failed.
    """
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

    try:
        text, ends_at_ms = MSKAuthTokenProvider.generate_auth_token(region)
    except (AttributeError, ValueError):  # what the library makes of credentials that are not there, or empty
        raise TokenRefused(
            "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this"
            " worker a role"
        ) from None
    return Token(text, ends_at_ms / 1000 - time.time())
