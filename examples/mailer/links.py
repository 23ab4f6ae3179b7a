"""The links of a letter: they say which action and what was chosen, are signed, and hold no address."""

from __future__ import annotations

import base64
import hashlib
import hmac

CHOICES = ("confirm", "confirm-opt-in", "confirm-opt-out")


class Links:
    """Makes links, and reads their tokens for the page behind them."""

    def __init__(self, base: str, secret: str) -> None:
        """Take what every link begins with, and the key of the signatures."""
        self._base = base.rstrip("/")
        self._secret = secret.encode()

    def link(self, choice: str, org_id: int, action_id: int, email_id: str) -> str:
        """Return the link of one button."""
        said = f"{choice}.{org_id}.{action_id}.{email_id}"
        return f"{self._base}/{said}.{self._signature(said)}"

    def read(self, token: str) -> tuple[str, int, int, str] | None:
        """Return choice, orgId, actionId and the email's id of a token, None if it is not one of ours."""
        said, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(said).encode()):
            return None
        choice, org_id, action_id, email_id = said.split(".")
        return choice, int(org_id), int(action_id), email_id

    def _signature(self, said: str) -> str:
        mac = hmac.new(self._secret, said.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")
