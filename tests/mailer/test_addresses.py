"""Whom a letter goes to: one mailbox, whatever script its address is written in."""

from collections.abc import Iterator

import pytest

from examples.mailer.addresses import recipient
from examples.mailer.settings import Settings
from examples.mailer.smtp import Accepted, Refused, Smtp
from examples.settings import read_settings
from tests.mailer.readers import read
from tests.mailer.strict_smtp import StrictSmtp
from tests.mailer.test_letters import LETTERS, email
from tests.mailer.test_settings import GIVEN


@pytest.fixture
def old_server() -> Iterator[StrictSmtp]:
    """A server that takes ASCII only."""
    with StrictSmtp("SIZE") as server:
        yield server


@pytest.fixture
def server() -> Iterator[StrictSmtp]:
    """A server that takes international addresses."""
    with StrictSmtp("SIZE", "8BITMIME", "SMTPUTF8") as server:
        yield server


def smtp(server: StrictSmtp) -> Smtp:
    where = {"MAILER_SMTP_HOST": "127.0.0.1", "MAILER_SMTP_PORT": str(server.port)}
    return Smtp(read_settings(Settings, GIVEN | where))


#: Addresses, and the same with their domain in ASCII.
INTERNATIONAL = {
    "jürgen@münchen.de": "jürgen@xn--mnchen-3ya.de",
    "用户@例子.广告": "用户@xn--fsqu00a.xn--4rr70v",
    "用户@例子。广告": "用户@xn--fsqu00a.xn--4rr70v",
    "अजय@डाटा.भारत": "अजय@xn--c2bd1gb.xn--h2brj9c",
    "квіточка@пошта.укр": "квіточка@xn--80a1acn3a.xn--j1amh",
    "χρήστης@παράδειγμα.ελ": "χρήστης@xn--hxajbheg2az3al.xn--qxam",
    "Dörte@Sörensen.example.com": "Dörte@xn--srensen-90a.example.com",
    "josé.müller+x@example.org": "josé.müller+x@example.org",
    "🙂@example.org": "🙂@example.org",
}
ASCII = {
    "ana@straße.de": "ana@xn--strae-oqa.de",
    "ana@STRASSE.de": "ana@STRASSE.de",
    "ana@MÜNCHEN.DE": "ana@xn--mnchen-3ya.de",
    "ana@βόλος.com": "ana@xn--nxasmm1c.com",
    "ana@نامه\u200cای.com": "ana@xn--mgba3gch31f060k.com",
    "ana@xn--strae-oqa.de": "ana@xn--strae-oqa.de",
    " ana@example.org\n": "ana@example.org",
    "a.b+c_d'e@sub.example.org": "a.b+c_d'e@sub.example.org",
    '"very odd\\" one"@example.net': '"very odd\\" one"@example.net',
    '"a@b"@example.net': '"a@b"@example.net',
    '"plain"@example.net': "plain@example.net",
}


@pytest.mark.parametrize("address", INTERNATIONAL | ASCII)
async def test_an_address_of_any_script_gets_its_letter(server: StrictSmtp, address: str) -> None:
    """SMTPUTF8 is asked for where the local part needs it, and only there; domains are in ASCII."""
    letter = LETTERS.render(email(email=address))
    assert await smtp(server).send(letter) == Accepted()
    [taken] = server.taken
    meant = (INTERNATIONAL | ASCII)[address]
    assert (taken.recipient, taken.smtputf8) == (meant, address in INTERNATIONAL)
    assert taken.content == letter.content
    assert read(taken.content).recipient == meant
    assert server.violations == []


@pytest.mark.parametrize("address", INTERNATIONAL)
async def test_a_server_without_smtputf8_is_named(old_server: StrictSmtp, address: str) -> None:
    """The letter cannot be sent by this server, and the dead letter's reason says what is missing."""
    assert await smtp(old_server).send(LETTERS.render(email(email=address))) == Refused(
        "smtputf8_not_offered"
    )
    assert old_server.taken == []


@pytest.mark.parametrize("address", ASCII)
async def test_an_international_domain_needs_no_extension(old_server: StrictSmtp, address: str) -> None:
    """A local part in ASCII gets its letter from any server."""
    assert await smtp(old_server).send(LETTERS.render(email(email=address))) == Accepted()
    assert [taken.recipient for taken in old_server.taken] == [ASCII[address]]
    assert old_server.violations == []


@pytest.mark.parametrize(
    "address",
    [
        *("", "@", "ana", "ana@", "@example.org", "ana@@example.org"),
        *("ana@.org", "ana@a..b", "ana.@a.org", ".a@b.org", "a@[", "a@[x]"),
        *("a@b.org, c@d.org", "a@b.org,c@d.org", "Ana <a@b.org>", "<a@b.org>", "a@b.org>"),
        *("a@b.org (x)", "a(x)@b.org", "a@b.org\r\nRCPT TO:<c@d.org>"),
        *("a\r\n@b.org", "a\0@b.org", "a b@c.org", "a@b c.org", "a@b.org\0", "a\ud800@c.org"),
        *("a\u2028b@c.org", "a\u00a0b@c.org", "a\u3000@c.org", "a\u202e@c.org", "a\u200b@c.org"),
        *("a@\u2028.org", "a@b\u202e.org", "a@i❤.ws", "a@℀.org", "a@-ü.org", "a@xn--ü.org"),
        *('"a"b@c.org', '"a@c.org', '"a\r\n"@c.org', '"\ud800"@c.org', '""@c.org', '"=?utf-8?q?x?="@c.org'),
        *("x" * 250 + "@example.org", "é" * 130 + "@example.org"),
        *("a@" + "b." * 130 + "org", "a@" + "ü" * 64 + ".org"),
        *(None, 7, True, [], {}, ["a@b.org"]),
    ],
)
def test_what_names_no_one_mailbox_names_none(address: object) -> None:
    """Lists, names, comments, commands and broken domains are no address, and are not mended."""
    assert recipient(address) is None
