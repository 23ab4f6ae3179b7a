"""The links of a letter, made from templates. Whatever a record says stays one part of its URL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote

CHOICES = ("confirm", "confirm-opt-in", "confirm-opt-out", "reject")
SIGNED = "{base}/{token}"
VALUES = ("token", "orgId", "actionId", "contactRef", "emailId")
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
#: What a URL is written with (RFC 3986), after its scheme and host.
_PATH = re.compile(r"\{base\}/(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2}|\{\w+\})*")


class Unlinkable(ValueError):
    """A record has no value that its link needs. The text names that value, and quotes nothing."""


def is_template(text: str) -> bool:
    """Whether links can be made from it: a path and query after the base, which name the action."""
    names = set(_PLACEHOLDER.findall(text.removeprefix("{base}")))
    return bool(_PATH.fullmatch(text)) and names <= set(VALUES) and bool(names & {"token", "actionId"})


def tell_choices_apart(templates: Mapping[str, str]) -> bool:
    """Whether a click on each link can be told from a click on another, in every letter.

    The links `confirm` and `confirm-opt-out` may be the same: neither gives a consent.
    """
    confirm, opt_in, opt_out, reject = (
        text if "{token}" not in text else f"{text} {choice}"
        for choice, text in ((choice, templates[choice]) for choice in CHOICES)
    )
    return len({opt_in, reject}) == 2 and not {opt_in, reject} & {confirm, opt_out}


class Links:
    """Makes links, and reads their tokens for the page behind them."""

    def __init__(self, base: str, secret: str, templates: Mapping[str, str] | None = None) -> None:
        """Take what links begin with, the key of the signatures, and a template for each choice.

        Without templates, each link is the base and a signed token.
        """
        self._base = base.rstrip("/")
        self._secret = secret.encode()
        self._templates = dict.fromkeys(CHOICES, SIGNED) if templates is None else dict(templates)

    def link(
        self, choice: str, org_id: int, action_id: int, email_id: str, contact_ref: object = None
    ) -> str:
        """Return the link of one choice.

        Raises:
            Unlinkable: `contact_ref` is needed and is no text, or one that a URL has no place for.
        """
        said = f"{choice}.{org_id}.{action_id}.{email_id}"
        values = {
            "orgId": str(org_id),
            "actionId": str(action_id),
            "emailId": email_id,
            "contactRef": contact_ref if isinstance(contact_ref, str) else "",
        }

        def value(found: re.Match[str]) -> str:
            match found[1]:
                case "base":
                    return self._base
                case "token":
                    return f"{said}.{self._signature(said)}"
                case name:
                    return _encoded(name, values[name])

        return _PLACEHOLDER.sub(value, self._templates[choice])

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


def _encoded(name: str, value: str) -> str:
    """A value, percent-encoded. Dots alone are refused: they would mean another folder, encoded too."""
    try:
        text = quote(value, safe="")
    except UnicodeEncodeError:  # a lone surrogate
        text = ""
    if not text.strip("."):
        raise Unlinkable(f"no_{name}")
    return text
