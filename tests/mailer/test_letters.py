"""What stands in a letter, and what people cannot make stand in it."""

import json
import re
import tomllib
from typing import Any

import pytest

from examples.mailer.letters import HERE, Letter, Letters, Unreadable
from examples.mailer.links import Links
from tests.examples import valid
from tests.mailer.readers import read
from tests.mailer.test_links import PROCA

LINKS = Links("https://act.example.org/confirm/", "a secret for the tests")
LETTERS = Letters("confirm@example.org", LINKS)
ID = "246e2497-c6d5-5a52-bda8-cf198cbf8292"


def email(variant: str = "two_button", locale: object = "en", **contact: Any) -> bytes:
    action = {
        "org": {"title": "Green Rivers"},
        "campaign": {"title": "Stop X"},
        "actionPage": {"locale": locale},
        "contact": {"firstName": "Ana", "email": "ana@example.org", "contactRef": "r", **contact},
    }
    return json.dumps(
        {"id": ID, "variant": variant, "orgId": 310, "actionId": 7001, "action": action}
        | {"decidedAt": "2026-11-24T10:00:01.596Z"}
    ).encode()


def bodies(letter: Letter) -> tuple[str, str]:
    plain, html = letter.message.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    return plain.get_content(), html.get_content()


@pytest.mark.parametrize(
    ("locale", "language", "direction", "word"),
    [
        ("en", "en", "ltr", "Confirm"),
        ("de_AT", "de", "ltr", "estätigen"),
        ("fr", "fr", "ltr", "Confirmer"),
        ("ar", "ar", "rtl", "تأكيد"),
        ("he_IL", "he", "rtl", "אישור"),
        ("pl", "pl", "ltr", "otwierdz"),
        ("es-MX", "es", "ltr", "Confirmar"),
        ("it", "it", "ltr", "Conferm"),
        ("xx", "en", "ltr", "Confirm"),
        (None, "en", "ltr", "Confirm"),
    ],
)
@pytest.mark.parametrize(
    ("variant", "choices"),
    [("one_button", ["confirm"]), ("two_button", ["confirm-opt-in", "confirm-opt-out"])],
)
def test_each_variant_in_each_locale(
    variant: str, choices: list[str], locale: object, language: str, direction: str, word: str
) -> None:
    """The right buttons, in the action's language or English, in both bodies, in its direction."""
    letter = LETTERS.render(email(variant, locale))
    plain, html = bodies(letter)
    assert f'<html lang="{language}" dir="{direction}">' in html
    assert word in plain
    assert word in html
    for body in (plain, html):
        links = re.findall(r"https://act\.example\.org/confirm/([\w.-]+)", body)
        expected = [(choice, 310, 7001, ID) for choice in (*choices, "reject")]
        assert [LINKS.read(token) for token in links] == expected
    assert letter.message["Message-ID"] == f"<{ID}@example.org>"
    assert "ana@" not in plain + html


def test_the_letter_says_who_sends_it() -> None:
    """The organisation's title stands in From, without changing the address, and in both bodies."""
    letter = LETTERS.render(email())
    assert letter.message["From"] == "Green Rivers <confirm@example.org>"
    assert all("Green Rivers" in body for body in bodies(letter))
    record = json.loads(email())
    record["action"]["org"] = {"title": 'Us" <other@example.net>,\r\nBcc: all@example.org'}
    [sender] = LETTERS.render(json.dumps(record).encode()).message["From"].addresses
    assert sender.addr_spec == "confirm@example.org"
    record["action"]["org"] = None
    assert LETTERS.render(json.dumps(record).encode()).message["From"] == "confirm@example.org"


def test_no_list_is_left_by_a_confirmation() -> None:
    """Nobody is on a list yet: no List-Unsubscribe header and no Precedence may say so."""
    headers = {name.lower() for name in LETTERS.render(email()).message}
    assert headers >= {"from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version"}
    assert not headers & {"list-unsubscribe", "list-unsubscribe-post", "list-id", "precedence", "bcc", "cc"}


def test_neither_choice_is_nudged() -> None:
    """Both buttons look the same."""
    _, html = bodies(LETTERS.render(email()))
    styles = re.findall(r'(<td[^>]*>)<a href="[^"]*" style="([^"]*)"', html)
    assert len(styles) == 2
    assert styles[0] == styles[1]


def test_right_to_left_holds_without_markup() -> None:
    """In plain text, each line of Arabic is an isolate with a direction; links and English have none."""
    plain, _ = bodies(LETTERS.render(email(locale="ar")))
    lines = [line for line in plain.splitlines() if re.search(r"[\u0600-\u06ff]", line)]
    assert len(lines) == 7
    assert all(line.startswith("\u2067") and line.endswith("\u2069") for line in lines)
    assert not re.search(r"[\u2066-\u2069]", bodies(LETTERS.render(email()))[0])


def test_every_language_has_every_text() -> None:
    """No letter breaks for want of one, or holds a placeholder."""
    texts = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in (HERE / "texts").glob("*.toml")}
    assert len(texts) >= 8
    for locale, words in texts.items():
        assert words.keys() == texts["en"].keys(), locale
        for variant in ("one_button", "two_button"):
            letter = LETTERS.render(email(variant, locale))
            assert letter.locale == locale
            assert not any(re.search(r"[{}]", body) for body in bodies(letter))


def test_names_stay_text() -> None:
    """Markup and template code in a name are shown, not obeyed."""
    plain, html = bodies(LETTERS.render(email(firstName="<b>{{7*7}}{name}</b>")))
    assert "Dear <b>{{7*7}}{name}</b>," in plain
    assert "Dear &lt;b&gt;{{7*7}}{name}&lt;/b&gt;," in html


@pytest.mark.parametrize(
    "title", ["Stop\r\nBcc: all@example.org\r\n\r\nX", "Stop\u2028X", "Stop \ud800 X", "\u202eStop"]
)
def test_no_header_can_be_smuggled_in(title: str) -> None:
    """A campaign's line breaks, lone surrogates and direction marks leave one subject and one recipient."""
    record = json.loads(email())
    record["action"]["campaign"]["title"] = title
    message = LETTERS.render(json.dumps(record).encode()).message
    head = bytes(message).partition(b"\r\n\r\n")[0]
    assert not re.search(rb"(?mi)^bcc:", head)
    assert message["To"] == "ana@example.org"
    assert message["Subject"].startswith("Please confirm: Stop")


@pytest.mark.parametrize("name", ["Win at https://bad.example", "www.bad.example", "", None, 7, "x" * 61])
def test_a_name_is_no_advertisement(name: object) -> None:
    """What is no name greets nobody by it."""
    plain, _ = bodies(LETTERS.render(email(firstName=name)))
    assert plain.startswith("Hello,")
    assert "bad.example" not in plain


@pytest.mark.parametrize(
    "address", ["", "ana", "@example.org", "ana@", "a\r\nb@example.org", "a b@example.org", "a\ud800@e.org"]
)
def test_what_is_no_address_is_refused_without_being_quoted(address: str) -> None:
    """The reason is a class."""
    with pytest.raises(Unreadable) as refusal:
        LETTERS.render(email(email=address))
    assert str(refusal.value) == "no_address"


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(email()) | fields).encode()


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"id":1}',
        email("three_button"),
        b"\xff\xfe" + email(),
        b"[" * 100_000,
        *(changed(actionId=each) for each in (float("inf"), float("nan"), 1.5, "7", True, None, [], {})),
        *(changed(orgId=each) for each in (float("-inf"), 1e400, "x", {})),
        changed().replace(b"7001", b"9" * 5_000),
        *(changed(decidedAt=each) for each in ("", "now", 7, None, "0001-01-01T00:00:00+14:00", [])),
        *(changed(id=each) for each in ("", 7, None, [], f"{ID}\n", f"{ID[:-2]}\r\n", "x" * 36)),
        *(changed(variant=each) for each in (7, None, [], {})),
        *(changed(action=each) for each in (7, None, [], {}, "x", {"contact": 7}, {"contact": []})),
        changed(lookup={"customFields": {"x": float("nan")}}),
    ],
)
def test_poison_is_refused(value: bytes | None) -> None:
    """Whatever is no email record raises Unreadable, and nothing else."""
    with pytest.raises(Unreadable):
        LETTERS.render(value)


@pytest.mark.parametrize("strange", [7, 1.5, True, None, [], {}, "\ud800", "\0", "\U000e0041", "x" * 100_000])
@pytest.mark.parametrize(
    "path", ["org", "org.title", "campaign", "campaign.title", "actionPage", "actionPage.locale", "contact"]
)
def test_a_field_of_another_kind_costs_its_words_at_most(path: str, strange: object) -> None:
    """What is no text is left out; without a contact, the record is refused."""
    record = json.loads(email())
    *above, last = path.split(".")
    place = record["action"]
    for name in above:
        place = place[name]
    place[last] = strange
    if path == "contact":
        with pytest.raises(Unreadable):
            LETTERS.render(json.dumps(record).encode())
    else:
        assert read(LETTERS.render(json.dumps(record).encode()).content).recipient == "ana@example.org"


def test_a_fault_of_ours_is_one_record_s() -> None:
    """If a letter cannot be made for a reason that nobody foresaw, its error's class is the reason."""
    broken = Letters("confirm@example.org", LINKS)
    broken._texts["en"] = {}  # as if a text were missing
    with pytest.raises(Unreadable, match=r"\AKeyError\Z"):
        broken.render(email())
    assert broken.render(email(locale="de"))


@pytest.mark.parametrize("name", sorted(valid("confirmation-email")))
def test_the_schema_s_examples_become_letters(name: str) -> None:
    """Every valid email record has its letter, which can be put on the wire."""
    assert bytes(LETTERS.render(valid("confirmation-email")[name]).message)


@pytest.mark.parametrize("contact_ref", [None, "", 7, [], "..", "\ud800"])
def test_a_reference_that_makes_no_link_is_a_reason(contact_ref: object) -> None:
    """Where the link needs a contactRef that the record does not have, that is why there is no letter."""
    letters = Letters("confirm@example.org", Links("https://api.example.org", "", PROCA))
    with pytest.raises(Unreadable, match=r"\Ano_contactRef\Z"):
        letters.render(email(contactRef=contact_ref))


def test_an_action_of_the_older_version_has_its_links() -> None:
    """What it calls `ref` is the contactRef of its links."""
    record = json.loads(email())
    record["action"]["contact"]["ref"] = record["action"]["contact"].pop("contactRef")
    letters = Letters("confirm@example.org", Links("https://api.example.org", "", PROCA))
    plain, _ = bodies(letters.render(json.dumps(record).encode()))
    assert "https://api.example.org/link/s/7001/accept/r?doi=1" in plain.split()


def test_proca_knows_the_action_of_a_letter_that_bounces() -> None:
    """The header that the settings name holds `action:` and the actionId; without a name there is none."""
    letters = Letters("confirm@example.org", LINKS, "X-MJ-CustomID")
    assert letters.render(email()).message["X-MJ-CustomID"] == "action:7001"
    assert b"action:7001" not in LETTERS.render(email()).content
