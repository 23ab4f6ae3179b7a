"""The message on the wire: text that people wrote stays text, and nothing is sent that was not meant."""

import html
import json
from dataclasses import replace
from datetime import UTC, datetime
from email.headerregistry import Address

import pytest

from examples.mailer.letters import Unreadable
from examples.mailer.message import Intended, difference, parsed, serialised
from tests.mailer.readers import read
from tests.mailer.test_letters import LETTERS, email

INTENDED = Intended(
    sender=Address("Green Rivers", "confirm", "example.org"),
    recipient=Address(username="ana", domain="example.org"),
    subject="Please confirm: Stop X",
    date=datetime(2026, 11, 24, 10, tzinfo=UTC),
    message_id="<1@example.org>",
    plain="Hello,\n\nfrom us\n",
    html="<p>Hello</p>\n",
)

#: What looks like an encoded word (RFC 2047), well formed or not, with what a line break in it would add.
ENCODED_WORDS = [
    "=?utf-8?q?=0d=0aReply-To:_a=40b.org=0d=0aContent-Type:_text/html=0d=0a=0d=0a<h1>x</h1>?=",
    "=?UTF-8?B?DQpCY2M6IGFsbEBleGFtcGxlLm9yZw0KDQo8aDE+eDwvaDE+?=",
    "=?iso-8859-1*en?Q?=0ABcc:_all=40example.org?=",
    "=?utf-7?q?+AA0ACg-Bcc:_a=40b.org?=",
    "Stop =?utf-8?q?=0d=0aBcc:_a=40b.org?= =?utf-8?q?=0d=0aCc:_a=40b.org?= now",
    "Stop=?utf-8?q?=0d=0aBcc:_a=40b.org?=now",
    '"=?utf-8?q?=22=0d=0aBcc:_a=40b.org?="',
    "(=?utf-8?q?=29=0d=0aBcc:_a=40b.org?=)",
    "é=??q?=fe?=",
    "=??q?=fe?=",
    "=?utf-8?x?abc?=",
    "=?utf-8?b?====?=",
    "=?utf-8?q?=0d=0aBcc:_a=40b.org",
    "=?no-such-charset?q?a?=",
    "=?utf-8?q?=ff=fe?=",
    "=?utf-8?q?plain?=",
]
#: What has a meaning in a header or an address.
SPECIALS = [
    'Us" <other@example.net>',
    "a, b; c: <d@e.org> (f)",
    "\\",
    '"',
    "<",
    "a@b.org",
    "=",
    "?",
    "=?",
    "?=",
    "=3D",
    "x" * 200,
    "x y " * 50,
    "ü" * 200,
    "é, " * 60,
    "{campaign} {0.__class__} %s $x",
    ".",
    "From here",
    "--===============0==--",
]


@pytest.mark.parametrize("text", [*ENCODED_WORDS, *SPECIALS])
def test_a_title_is_shown_as_it_is_written(text: str) -> None:
    """Campaign and organisation are called what they are called, and have no further header, type or body."""
    text = text.strip()
    record = json.loads(email("one_button"))
    record["action"] |= {"campaign": {"title": text}, "org": {"title": text}}
    seen = read(LETTERS.render(json.dumps(record).encode()).content)
    assert seen.subject == f"Please confirm: {text}"
    assert (seen.sender_name, seen.sender) == (text, "confirm@example.org")
    assert seen.recipient == "ana@example.org"
    assert f"Thank you for signing “{text}”." in seen.plain
    assert f"“{text}”" in html.unescape(seen.html)
    assert "<h1>" not in seen.html


@pytest.mark.parametrize("text", ENCODED_WORDS)
def test_an_encoded_word_elsewhere_writes_no_header(text: str) -> None:
    """A name, a locale or an unread field leaves sender, recipient and subject as they are."""
    contact = {"firstName": text, "lastName": text}
    seen = read(LETTERS.render(email("one_button", text, **contact)).content)
    assert (seen.subject, seen.sender_name) == ("Please confirm: Stop X", "Green Rivers")
    assert (seen.sender, seen.recipient) == ("confirm@example.org", "ana@example.org")
    assert "<h1>" not in seen.html


@pytest.mark.parametrize("text", ENCODED_WORDS)
@pytest.mark.parametrize("address", ["{}", "{}@example.org", "ana@{}", '"{}"@example.org', "{} <a@b.org>"])
def test_an_encoded_word_is_no_address(text: str, address: str) -> None:
    """Readers may decode it to another address, so no letter is sent."""
    with pytest.raises(Unreadable, match=r"\Ano_address\Z"):
        LETTERS.render(email(email=address.format(text)))


def test_what_is_meant_differs_in_nothing() -> None:
    """A message is its own reading."""
    content = serialised(INTENDED)
    assert difference(content, parsed(content), INTENDED) is None


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        (b"To:", b"Bcc: all@example.org\r\nTo:", "header"),
        (b"To: ", b"To: all@example.org, ", "recipient"),
        (b"To: ana", b"To: all", "recipient"),
        (b"To:", b"To: all@example.org\r\nTo:", "header"),
        (b"From: Green", b"From: a@b.org, Green", "sender"),
        (b"From: Green", b"From: Red", "sender"),
        (b"confirm@example.org", b"other@example.org", "sender"),
        (b"Auto-Submitted", b"X-Auto-Submitted", "header"),
        (b"auto-generated", b"no", "header"),
        (b": Stop X", b": Stop Y", "header"),
        (b"<1@", b"<2@", "header"),
        (b"10:00:00", b"10:00:01", "header"),
        (b"multipart/alternative", b"multipart/mixed", "content_type"),
        (b"text/html", b"text/plain", "content_type"),
        (b"\r\n\r\n--", b"\r\n\r\nBefore\r\n--", "content_type"),
        (b"--\r\n", b"--\r\nAfter", "content_type"),
        (b"from us", b"from him", "body"),
        (b"<p>", b"<b>", "body"),
        (b"Content-Transfer", b"Content-Disposition: attachment\r\nContent-Transfer", "header"),
        (b"from us", b"from us\0", "defect"),
        (b"from us", b"from us\n", "defect"),
        (b"from us", b"from us\r", "defect"),
        (b"from us", b"from us" * 200, "line"),
    ],
)
def test_whatever_else_stands_in_it_is_found(old: bytes, new: bytes, part: str) -> None:
    """One more header, recipient, part or word is named by its kind."""
    content = serialised(INTENDED).replace(old, new, 1)
    assert difference(content, parsed(content), INTENDED) == part


def test_a_text_that_is_no_text_is_found_before_it_is_sent() -> None:
    """Line breaks, which no text of ours has, would be seen in the finished message."""
    strange = replace(INTENDED, subject="Stop\r\nBcc: all@example.org")
    content = serialised(strange)
    assert difference(content, parsed(content), strange) is not None
