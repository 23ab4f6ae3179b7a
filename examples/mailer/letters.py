"""From a record's value to a letter. Whatever people wrote into their names stays text."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jinja2

from examples.mailer.links import Links

HERE = Path(__file__).parent
FALLBACK = "en"
BUTTONS = {"one_button": ("confirm",), "two_button": ("confirm-opt-in", "confirm-opt-out")}
LONGEST_NAME = 60  # characters
_NOT_IN_AN_ADDRESS = re.compile(r"[\x00-\x20\x7f-\x9f<>,]")


class Unreadable(Exception):
    """No letter can be made from a record. The text is a class, not a quotation: it goes into a header."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter, ready to be sent."""

    id: str  # of the email record: the same for the same action record, however often it is read
    variant: str
    locale: str  # of the texts, which may be the fallback
    recipient: str
    message: EmailMessage


class Letters:
    """Renders letters: the texts of each locale are in ``texts``, how they look in ``templates``."""

    def __init__(self, sender: str, links: Links) -> None:
        """Load texts and templates."""
        self._sender = Address(addr_spec=sender)
        self._links = links
        self._texts = {
            path.stem: tomllib.loads(path.read_text("utf-8")) for path in (HERE / "texts").glob("*.toml")
        }
        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=jinja2.select_autoescape(["html"]),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
        )
        self._plain, self._html = (templates.get_template(name) for name in ("letter.txt", "letter.html"))

    def render(self, value: bytes | None) -> Letter:
        """Return the letter of a record's value (``schemas/confirmation-email.json``).

        Raises:
            Unreadable: the value is none of these, or its address is no address.
        """
        try:
            email = json.loads(value or b"")
            email_id, variant, action = email["id"], email["variant"], email["action"]
            decided_at = datetime.fromisoformat(email["decidedAt"])
            place = int(email["orgId"]), int(email["actionId"])
            address = str(action["contact"]["email"])
            if variant not in BUTTONS:
                raise Unreadable("no_variant")
            if not re.fullmatch(r"[0-9a-f-]{36}", email_id):
                raise Unreadable("no_id")
        except (ValueError, LookupError, TypeError, RecursionError):
            raise Unreadable("not_an_email_record") from None
        locale = self._locale(_at(action, "actionPage", "locale"))
        texts = self._texts[locale]
        organisation = _text(_at(action, "org", "title"))
        words = {
            "name": _name(_at(action, "contact", "firstName")),
            "campaign": _text(_at(action, "campaign", "title")) or texts["campaign"],
            "organisation": organisation or texts["organisation"],
        }
        rtl = texts["direction"] == "rtl"
        if rtl:  # a Latin name must not turn the words around it (Unicode's isolates)
            words = {key: word and f"\u2068{word}\u2069" for key, word in words.items()}
        greeting = texts["greeting" if words["name"] else "greeting_without_name"]
        context = {
            "locale": locale,
            "direction": texts["direction"],
            # Plain text has no dir attribute: isolates order a line even where all else runs left to right.
            "begin": "\u2067" if rtl else "",
            "end": "\u2069" if rtl else "",
            "subject": texts["subject"].format(**words),
            "organisation": organisation,
            "greeting": greeting.format(**words),
            "paragraphs": [text.format(**words) for text in texts[variant]],
            "buttons": [
                (texts[choice].format(**words), self._links.link(choice, *place, email_id))
                for choice in BUTTONS[variant]
            ],
            "footer": texts["footer"].format(**words),
        }
        message = self._message(email_id, address, context["subject"], format_datetime(decided_at))
        message["From"] = Address(organisation, addr_spec=self._sender.addr_spec)
        message.set_content(self._plain.render(context))
        message.add_alternative(self._html.render(context), subtype="html")
        return Letter(email_id, variant, locale, _recipient(address), message)

    def _message(self, email_id: str, address: str, subject: str, date: str) -> EmailMessage:
        recipient = _recipient(address)
        message = EmailMessage(policy=SMTP if recipient.isascii() else SMTPUTF8)
        message["To"] = Address(addr_spec=recipient)
        message["Subject"] = subject
        message["Date"] = date
        message["Message-ID"] = f"<{email_id}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies, please
        return message

    def _locale(self, wanted: object) -> str:
        language = re.split(r"[-_]", wanted)[0].lower() if isinstance(wanted, str) else ""
        return language if language in self._texts else FALLBACK


def _recipient(address: str) -> str:
    """The address with its domain in ASCII.

    Raises:
        Unreadable: it is not one that a letter can be sent to.
    """
    local, _, domain = address.strip().rpartition("@")
    try:
        recipient = f"{local}@{domain.encode('idna').decode()}"
        if (
            Address(addr_spec=recipient).domain
            and local
            and not re.search(r"[\x00-\x20\x7f-\x9f<>]", recipient)
        ):
            recipient.encode()
            return recipient
    except (ValueError, IndexError, MessageError):
        pass
    raise Unreadable("no_address") from None


def _at(action: Any, *path: str) -> object:
    for name in path:
        action = action.get(name) if isinstance(action, dict) else None
    return action


def _text(raw: object) -> str:
    """Text on one line: without control characters, bidirectional overrides and lone surrogates."""
    if not isinstance(raw, str):
        return ""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+", " ", raw)
    return " ".join(clean.encode(errors="replace").decode().split())[:200]


def _name(raw: object) -> str:
    """A first name; nothing where strangers advertise in it, by a letter that carries our name."""
    name = _text(raw)
    return "" if len(name) > LONGEST_NAME or re.search(r"://|www\.|@|\w\.\w\w+/", name) else name
