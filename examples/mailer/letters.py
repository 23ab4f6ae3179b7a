"""From a record's value to a letter. Whatever people wrote into their names stays text."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NoReturn, cast

import jinja2

from examples.mailer.addresses import recipient
from examples.mailer.links import Links, Unlinkable
from examples.mailer.message import Intended, difference, parsed, serialised
from examples.mailer.plain_text import first_name, text

HERE = Path(__file__).parent
FALLBACK = "en"
BUTTONS = {"one_button": ("confirm",), "two_button": ("confirm-opt-in", "confirm-opt-out")}


class Unreadable(Exception):
    """No letter can be made from a record. The text is a class, not a quotation: it goes into a header."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter, ready to be sent."""

    id: str  # of the email record: the same for the same action record, however often it is read
    variant: str
    locale: str  # of the texts, which may be the fallback
    recipient: str
    content: bytes  # as it goes to the server
    message: EmailMessage  # the same, parsed


class Letters:
    """Renders letters: the texts of each locale are in ``texts``, how they look in ``templates``."""

    def __init__(self, sender: str, links: Links, action_id_header: str = "") -> None:
        """Load texts and templates. Letters have the action's id in a header of that name; none if empty."""
        self._sender = Address(addr_spec=sender)
        self._links = links
        self._action_id_header = action_id_header
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
            Unreadable: no letter can be made from it, whatever the reason: nothing else is raised.
        """
        try:
            return self._render(_record(value))
        except Unreadable:
            raise
        except Unlinkable as error:
            raise Unreadable(str(error)) from None
        except Exception as error:  # one record's fault must not become the mailer's
            raise Unreadable(type(error).__name__) from None

    def _render(self, email: dict[str, Any]) -> Letter:
        email_id, variant, action = email["id"], email["variant"], email["action"]
        # proca:action:1 calls it ref.
        contact_ref = _at(action, "contact", "contactRef") or _at(action, "contact", "ref")
        links = {
            choice: self._links.link(choice, email["orgId"], email["actionId"], email_id, contact_ref)
            for choice in (*BUTTONS[variant], "reject")
        }
        to = recipient(action["contact"]["email"])
        if to is None:
            raise Unreadable("no_address")
        locale = self._locale(_at(action, "actionPage", "locale"))
        texts = self._texts[locale]
        organisation = text(_at(action, "org", "title"))
        words = {
            "name": first_name(_at(action, "contact", "firstName")),
            "campaign": text(_at(action, "campaign", "title")) or texts["campaign"],
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
            "paragraphs": [paragraph.format(**words) for paragraph in texts[variant]],
            "buttons": [(texts[choice].format(**words), links[choice]) for choice in BUTTONS[variant]],
            "footer": texts["footer"].format(**words),
            "reject": texts["reject"].format(**words),
            "reject_link": links["reject"],
        }
        intended = Intended(
            sender=Address(organisation, addr_spec=self._sender.addr_spec),
            recipient=to,
            subject=context["subject"],
            date=_date(email["decidedAt"]),
            message_id=f"<{email_id}@{self._sender.domain}>",
            extra={self._action_id_header: f"action:{email['actionId']}"} if self._action_id_header else {},
            plain=self._plain.render(context),
            html=self._html.render(context),
        )
        content = serialised(intended)
        message = parsed(content)
        if altered := difference(content, message, intended):
            raise Unreadable(f"altered_{altered}")
        return Letter(email_id, variant, locale, to.addr_spec, content, message)

    def _locale(self, wanted: object) -> str:
        language = re.split(r"[-_]", wanted)[0].lower() if isinstance(wanted, str) else ""
        return language if language in self._texts else FALLBACK


def _record(value: bytes | None) -> dict[str, Any]:
    """The email record of a value, if its own fields are what they must be.

    Raises:
        Unreadable: one is not.
    """
    try:
        email = json.loads(value or b"", parse_constant=_no_number)
        if email["variant"] not in BUTTONS:
            raise Unreadable("no_variant")
        if not re.fullmatch(r"[0-9a-f-]{36}", email["id"]):
            raise Unreadable("no_id")
        if not all(type(email[name]) is int for name in ("orgId", "actionId")):  # true would be an int
            raise Unreadable("not_an_email_record")
        _date(email["decidedAt"])
        _ = email["action"]["contact"]["email"]
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
        raise Unreadable("not_an_email_record") from None
    return cast(dict[str, Any], email)


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and the infinities are no JSON


def _date(decided_at: str) -> datetime:
    """A time to the second, in UTC."""
    at = datetime.fromisoformat(decided_at)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def _at(action: Any, *path: str) -> object:
    for name in path:
        action = action.get(name) if isinstance(action, dict) else None
    return action
