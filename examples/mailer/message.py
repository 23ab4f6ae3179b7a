"""A letter as the message that goes to the server, and the proof that nobody else wrote into it.

Python's header classes decode the encoded words (RFC 2047) of a text that is assigned to them. A title
could write further headers and a body that way, so each line of the head is made here, from text that
stays text. The finished message is parsed again, and compared with what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import Parser
from email.policy import SMTP
from email.utils import format_datetime

LONGEST_LINE = 998  # bytes, without CR and LF (RFC 5322, 2.1.1)
_BODIES = SMTP.clone(cte_type="7bit")
_HEADERS = (
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",  # RFC 3834: no out-of-office replies, please
    "Content-Type",
    "MIME-Version",
)
_HEADERS_OF_A_PART = {"Content-Type", "Content-Transfer-Encoding", "MIME-Version"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What a message is meant to say. Texts have no control characters and no lone surrogates."""

    sender: Address  # with the name that is shown before the address
    recipient: Address
    subject: str
    date: datetime  # with a time zone, to the second
    message_id: str
    plain: str
    html: str
    extra: Mapping[str, str] = field(default_factory=dict)  # headers for the service that sends, in ASCII


def serialised(intended: Intended) -> bytes:
    """Return the message as it goes to the server: ASCII, but for a local part that is not."""
    sender, name = intended.sender.addr_spec, intended.sender.display_name
    head = {
        "From": f"{_encoded(name, 'From', _PHRASE)} <{sender}>" if name else sender,
        "To": intended.recipient.addr_spec,
        "Subject": _encoded(intended.subject, "Subject", _PRINTABLE),
        "Date": format_datetime(intended.date),
        "Message-ID": intended.message_id,
        "Auto-Submitted": "auto-generated",
        **intended.extra,
    }
    bodies = EmailMessage(_BODIES)
    bodies.set_content(intended.plain)
    bodies.add_alternative(intended.html, subtype="html")
    return "".join(f"{name}: {value}\r\n" for name, value in head.items()).encode() + bytes(bodies)


def parsed(content: bytes) -> EmailMessage:
    """Return a serialised message as its reader sees it."""
    message: EmailMessage = Parser(EmailMessage, policy=SMTP).parsestr(content.decode())
    return message


def difference(content: bytes, message: EmailMessage, intended: Intended) -> str | None:
    """Return what a message has that was not meant, as the name of that part; None if nothing."""
    if any(len(line) > LONGEST_LINE for line in content.split(b"\r\n")):
        return "line"
    if re.search(rb"\0|\r(?!\n)|(?<!\r)\n", content) or message.defects:
        return "defect"
    if sorted(message.keys()) != sorted((*_HEADERS, *intended.extra)):
        return "header"
    if any(message[name] != value for name, value in intended.extra.items()):
        return "header"
    if [_unspaced(sender) for sender in message["From"].addresses] != [_unspaced(intended.sender)]:
        return "sender"
    if message["To"].addresses != (intended.recipient,):
        return "recipient"
    if (message["Subject"], message["Date"].datetime, message["Message-ID"], message["Auto-Submitted"]) != (
        intended.subject,
        intended.date,
        intended.message_id,
        "auto-generated",
    ):
        return "header"
    if message.get_content_type() != "multipart/alternative" or message.preamble or message.epilogue:
        return "content_type"
    meant = (("text/plain", intended.plain), ("text/html", intended.html))
    parts = list(message.iter_parts())
    if [part.get_content_type() for part in parts] != [kind for kind, _ in meant]:
        return "content_type"
    for part, (_, text) in zip(parts, meant, strict=True):
        if part.defects or not _HEADERS_OF_A_PART.issuperset(part.keys()):
            return "header"
        if part.get_content().splitlines() != text.splitlines():
            return "body"
    return None


def _unspaced(sender: Address) -> tuple[str, str]:
    """Name without spaces, and address: Python's parser reads a space between two encoded words."""
    return sender.display_name.replace(" ", ""), sender.addr_spec


#: What needs no encoding in a subject, and as a name before an address (RFC 5322's atoms).
_PRINTABLE = re.compile(r"[ -~]+")
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~ -]+")


def _encoded(text: str, header: str, plain: re.Pattern[str]) -> str:
    """Text for a header, folded. What looks like an encoded word is encoded once more, so that it stays."""
    charset = "us-ascii" if plain.fullmatch(text) and "=?" not in text else "utf-8"
    return Header(text, charset, header_name=header).encode(linesep="\r\n")
