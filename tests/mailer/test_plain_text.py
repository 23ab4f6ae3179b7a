"""What of a stranger's text stands in a letter, and whom it greets."""

import pytest

from examples.mailer.plain_text import first_name, text
from tests.mailer.test_letters import LETTERS, bodies, email

NAMES = [
    *("Ana", "José María", "Jean-Luc", "O'Neil", "D’Arcy", "Anne Marie", "J. R.", "J.R.", "J.R.R. Tolkien"),
    *("Dr. Ana", "St. John", "Ana B.", "Ana-Lena K.", "Željko", "Łukasz", "Ңгуен", "Nguyễn Thị Hương"),
    *("Αθηνά", "Дмитрий", "محمد", "יעל", "अजय", "பிரியா", "สมชาย", "王小明", "さくら", "김민준", "Ⅻ Ana"),
    *("نیلوفر\u200cسادات", "e\u0301lise", "Ana 2", "Ana & Bo", "Ana (Mia)", "Ana, Bo", "X Æ A-12", "R2-D2"),
    *("<b>Ana</b>", "ＡＮＡ", "𝒜na", "Ana 🙂", "?Ana", "Ana...", "Ana: Bo"),
]
LINKS = [
    *("evil.com", "Win €500: evil.com", "EVIL.COM", "visit evil.com now", "evil.com/x", "a.b.evil.com"),
    *("evil.com.", "(evil.com)", "Ana.evil.com", "evil-site.co", "ev1l.io", "bit.ly/x", "t.co", "x.museum"),
    *("http://x", "https:x", "javascript:x", "mailto:x", "tel:123", "//evil", "a@b", "a @ b", "@ana"),
    *("ana@example.org", ".com", "1.2.3.4", "www.evil", "€500", "Win £1", "$$$ Ana", "₿ Ana"),
    *("evil\u200b.com", "evil.\u200bcom", "evil.\u00adcom", "ev\u2060il.c\u2060om", "evil.\ufe0fcom"),
    *("evil.\U000e0063com", "evil.\u202ecom", "evil.c\u0327o\u0327m"),
    *("evil．com", "evil。com", "evil｡com", "evil․com", "ｅｖｉｌ．ｃｏｍ", "evil.ⅽom", "a＠b", "http：//x"),
    *("𝐞𝐯𝐢𝐥.𝐜𝐨𝐦", "ⓔⓥⓘⓛ.ⓒⓞⓜ", "münchen.de", "例子.广告", "परीक्षा.कॉम", "пример.рф", "مثال.إختبار"),
    "evil.xn--p1ai",
]
NOBODY = [
    *("", " ", "\t\r\n", "\0", "\x1b\x07", "\ud800", "\udc00\ud800", "\u200b", "\u200b\u200c\u2060\ufeff"),
    *("\u00ad", "\u2028", "\u202e", "\u2066\u2069", "\u3164", "\u115f\u1160", "\uffa0", "\u2800", "\u0301"),
    *("\ufe0f", "\U000e0041", "?", "...", "-", "123", "🙂", "''", "()", "_", "\ufffd", "\ufffe", "\ue000"),
    *(None, 7, 1.5, True, [], {}, ["Ana"], "x" * 61),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_greeted_as_it_is_written(name: str) -> None:
    """Names of all scripts, with initials, titles, hyphens and the like, stand in the greeting unchanged."""
    plain, _ = bodies(LETTERS.render(email(firstName=name)))
    assert plain.startswith(f"Dear {name},")


@pytest.mark.parametrize("name", LINKS)
def test_what_looks_like_a_link_greets_nobody(name: str) -> None:
    """A domain, URL, mailbox or price in a name, however it is disguised, is left out of both bodies."""
    plain, html = bodies(LETTERS.render(email(firstName=name)))
    assert plain.startswith("Hello,")
    assert '<p style="margin:0 0 16px">Hello,</p>' in html


@pytest.mark.parametrize("name", NOBODY, ids=ascii)
def test_what_nobody_can_read_greets_nobody(name: object) -> None:
    """Without one letter that is seen, there is no name."""
    plain, _ = bodies(LETTERS.render(email(firstName=name)))
    assert plain.startswith("Hello,")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Stop\r\nX", "Stop X"),
        ("Stop\ud800 X", "Stop X"),
        ("\u202eStop\u2066", "Stop"),
        ("  a \t b  ", "a b"),
        ("x" * 300, "x" * 200),
        ("x" * 199 + " y", "x" * 199),
        (7, ""),
    ],
)
def test_text_is_one_line(raw: object, clean: str) -> None:
    """Line breaks are spaces; what has no character, turns text around, or is too much is left out."""
    assert text(raw) == clean


def test_a_name_has_a_longest_length() -> None:
    """Sixty characters are a name, one more are an advertisement."""
    assert first_name("x" * 60) == "x" * 60
    assert first_name("x" * 61) == ""
