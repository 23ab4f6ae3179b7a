"""Which emails are given to a mailer, and what becomes of one that does not do its work."""

import json
import sys

import pytest

import streams.sandbox.demo.letters
from streams.sandbox.demo.letters import NoLetters, Samples, letters


def email(locale: object, variant: str = "two_button", reason: str = "no_lookup") -> bytes:
    page = {"actionPage": {"locale": locale}}
    return json.dumps({"variant": variant, "reason": reason, "action": page}).encode()


def test_one_of_each_kind_is_taken():
    """Each variant in each locale, and each reason, has its sample; no second one of a kind does."""
    samples = Samples()
    emails = [
        email("de", "one_button", "known_subscribed"),
        email("de", "one_button", "known_subscribed"),
        email("de", "two_button", "no_lookup"),
        email("fr", "two_button", "no_lookup"),
        email("fr", "two_button", "lookup_failed"),
        email("de", "two_button", "lookup_failed"),
    ]
    for each in emails:
        samples.add(each)
    assert samples.emails == [emails[0], *emails[2:5]]


@pytest.mark.parametrize(
    "value", [b"", b"{", b"{}", email(7), email(None), b'{"action":{"actionPage":null}}', b"[" * 9_999]
)
def test_an_email_without_a_locale_is_a_kind_of_its_own(value: bytes):
    """Whatever an action holds in that place, the email is taken, and nothing breaks."""
    samples = Samples()
    samples.add(value)
    samples.add(value)
    assert samples.emails == [value]


def test_there_is_an_end_to_it():
    """Locales are the input's, and could be as many as there are actions."""
    samples = Samples()
    for number in range(1_000):
        samples.add(email(str(number)))
    assert len(samples.emails) == 60


async def test_each_email_is_a_line():
    """Line breaks between JSON's tokens do not tear an email; what the mailer says comes back."""
    says = await letters("cat", [b'{\n"id": 1}', b'{"id": 2}'])
    assert [json.loads(line) for line in says.splitlines()] == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("mailer", "why"),
    [
        ("no-such-mailer", "cannot be run (FileNotFoundError)"),
        ("", "cannot be run (ValueError)"),
        ("unbalanced '", "cannot be run (ValueError)"),
        ("false", "ended with exit code 1"),
        (f"{sys.executable} -c 'import sys; sys.exit(4)'", "ended with exit code 4"),
    ],
)
async def test_a_mailer_that_fails_is_told(mailer: str, why: str):
    """Not to be found, or ended by an exit code, even without having read anything: half a sentence."""
    with pytest.raises(NoLetters, match="the mailer") as failure:
        await letters(mailer, [b"{}" * 100_000])
    assert why in str(failure.value)


async def test_a_mailer_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch):
    """The demo does not wait for ever."""
    monkeypatch.setattr(streams.sandbox.demo.letters, "_WITHIN", 0.2)
    with pytest.raises(NoLetters, match=r"no letters within 0\.2 s"):
        await letters("sleep 60", [b"{}"])
