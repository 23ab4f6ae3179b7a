"""How a mail program reads a letter, without any code of the mailer's."""

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr
from typing import NamedTuple

#: Every header of a letter, and of its two parts.
HEADERS = ["auto-submitted", "content-type", "date", "from", "message-id", "mime-version", "subject", "to"]
HEADERS_OF_A_PART = {"content-transfer-encoding", "content-type", "mime-version"}


class Seen(NamedTuple):
    """What the reader of a letter sees."""

    subject: str
    sender_name: str
    sender: str
    recipient: str
    plain: str
    html: str


def read(content: bytes) -> Seen:
    """Read a letter as bytes; fails if it has headers or parts that no letter has."""
    message = message_from_bytes(content)
    assert sorted(name.lower() for name in message) == HEADERS
    assert not message.defects
    assert message.get_content_type() == "multipart/alternative"
    plain, html = message.get_payload()
    assert [part.get_content_type() for part in (plain, html)] == ["text/plain", "text/html"]
    for part in (plain, html):
        names = [name.lower() for name in part]
        assert HEADERS_OF_A_PART.issuperset(names)
        assert len(set(names)) == len(names)
    name, sender = parseaddr(_unfolded(message["From"]))
    recipient = content.partition(b"\r\nTo: ")[2].partition(b"\r\n")[0].decode()
    subject = _decoded(_unfolded(message["Subject"]))
    return Seen(subject, _decoded(name), sender, recipient, _body(plain), _body(html))


def _unfolded(header: str) -> str:
    return header.replace("\r\n", "").strip()


def _decoded(header: str) -> str:
    return str(make_header(decode_header(header)))


def _body(part: Message) -> str:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode().replace("\r\n", "\n")
