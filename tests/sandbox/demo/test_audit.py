"""What the demo counts, and when it says that the count is right."""

from __future__ import annotations

import json

import pytest

from streams.sandbox.demo.audit import Asks, Audit, Email, Verdict, asks, objections

EMAIL = Email("two_button", "lookup_failed", "error", "timeout")
READABLE = {
    "stage": "supporter_confirm",
    "actionId": 1,
    "orgId": 2,
    "contact": {"contactRef": "r", "email": "ana@example.org"},
}


def fed(*places: str, what: Asks = Asks.EMAIL) -> Audit:
    audit = Audit(1)
    for place in places:
        audit.fed(place, 0, what, 100.0)
    return audit


def test_one_email_for_each_action_holds():
    """Every action has exactly one email: the line says so, word for word, and it holds."""
    audit = fed("a", "b")
    for place in ("a", "b"):
        audit.email(place, EMAIL, 100.5)
    verdict = audit.verdict()
    assert str(verdict) == "2 actions, 2 emails, 0 missing, 0 doubled"
    assert verdict.holds
    assert objections(verdict, ["healthy"], audit.phases) == []


def test_a_missing_email_is_missed():
    """An action without an email is missing and awaited, and the line does not hold."""
    audit = fed("a", "b")
    audit.email("a", EMAIL, 100.5)
    assert audit.awaited == 1
    assert str(audit.verdict()) == "2 actions, 1 emails, 1 missing, 0 doubled"
    assert not audit.verdict().holds


def test_a_second_email_is_a_double():
    """Two emails for one action are counted as such, even where another one's absence evens out the sum."""
    audit = fed("a", "b")
    audit.email("a", EMAIL, 100.5)
    audit.email("a", EMAIL, 100.6)
    assert str(audit.verdict()) == "2 actions, 2 emails, 1 missing, 1 doubled"
    assert not audit.verdict().holds


def test_an_email_that_nobody_asked_for_is_told():
    """An email from a place that was never fed, or whose action asks for nothing, does not pass."""
    for audit, place in ((fed(), "elsewhere"), (fed("a", what=Asks.NOTHING), "a")):
        audit.email(place, EMAIL, 100.5)
        verdict = audit.verdict()
        assert (verdict.actions, verdict.emails, verdict.uncalled) == (0, 1, 1)
        assert not verdict.holds


def test_an_email_before_its_acknowledgement_counts_alike():
    """The reader may be faster than the producer's acknowledgement: phase and delay come out the same."""
    audit = Audit(2)
    audit.email("a", EMAIL, 100.5)
    audit.fed("a", 1, Asks.EMAIL, 100.2)
    assert audit.awaited == 0
    assert audit.phases[1].delays == pytest.approx([0.3])
    assert audit.phases[1].emails == {("two_button", "lookup_failed"): 1}
    assert audit.phases[1].causes == {"timeout": 1}
    assert audit.verdict().holds


def test_an_email_belongs_to_the_phase_of_its_action():
    """An email that comes late is counted where its action was sent."""
    audit = Audit(2)
    audit.fed("a", 0, Asks.EMAIL, 100.0)
    audit.fed("b", 1, Asks.EMAIL, 101.0)
    audit.email("a", EMAIL, 102.0)
    assert [tally.emails_out for tally in audit.phases] == [1, 0]


def test_delays_of_known_supporters_are_kept_apart():
    """Only a status from the table makes a supporter known; one without a lookup is not."""
    audit = fed("a", "b", "c")
    audit.email("a", Email("one_button", "known_subscribed"), 100.1)
    audit.email("b", Email("one_button", "lookup_subscribed", "existing"), 100.2)
    audit.email("c", Email("two_button", "no_lookup"), 100.3)
    assert audit.phases[0].delays == pytest.approx([0.1, 0.2, 0.3])
    assert audit.phases[0].known_delays == pytest.approx([0.1])


def test_an_explained_dead_letter_is_no_email_that_misses():
    """What cannot be read is a dead letter, and then neither awaited nor missing."""
    audit = fed("a", what=Asks.EMAIL_OR_DEAD_LETTER)
    assert audit.awaited == 1
    audit.dead_letter("a", "not_json")
    assert audit.awaited == 0
    verdict = audit.verdict()
    assert (str(verdict), verdict.dead_letters) == ("0 actions, 0 emails, 0 missing, 0 doubled", 1)
    assert verdict.holds


def test_a_readable_action_must_not_become_a_dead_letter():
    """An action without fault that is a dead letter has no email: it is missing, and the class is told."""
    audit = fed("a")
    audit.dead_letter("a", "internal_error")
    verdict = audit.verdict()
    assert str(verdict) == "1 actions, 0 emails, 1 missing, 0 doubled"
    assert "1 actions without fault became dead letters (error classes: internal_error)" in objections(
        verdict, ["healthy"], audit.phases
    )


def test_a_dead_letter_beside_an_email_is_a_double():
    """An action that is settled twice is doubled, whichever came first."""
    audit = fed(what=Asks.EMAIL)
    audit.dead_letter("a", "internal_error")
    audit.email("a", EMAIL, 100.5)
    audit.fed("a", 0, Asks.EMAIL, 100.0)
    assert audit.verdict().doubled == 1
    assert not audit.verdict().holds


def test_ignored_actions_are_not_awaited():
    """An action of another stage that got nothing is ignored, and all is well."""
    audit = fed("a", what=Asks.NOTHING)
    assert audit.awaited == 0
    assert audit.verdict() == Verdict(0, 0, 0, 0, 0, ignored=1, dead_letters=0, unexplained=0)
    assert audit.verdict().holds


def test_a_phase_without_emails_is_objected_to():
    """A phase in which no email left proves nothing, even if the count is right."""
    audit = Audit(2)
    audit.fed("a", 0, Asks.EMAIL, 100.0)
    audit.email("a", EMAIL, 100.5)
    assert objections(audit.verdict(), ["healthy", "slow"], audit.phases) == [
        "no email left for the actions of phase 2, slow"
    ]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Asks.EMAIL),
        ({"contact": {"ref": "r", "email": "ana@example.org"}}, Asks.EMAIL),
        ({"stage": "supporter_confirmed"}, Asks.NOTHING),
        ({"stage": 7}, Asks.EMAIL_OR_DEAD_LETTER),
        ({"orgId": True}, Asks.EMAIL_OR_DEAD_LETTER),
        ({"orgId": None}, Asks.EMAIL_OR_DEAD_LETTER),
        ({"contact": None}, Asks.EMAIL_OR_DEAD_LETTER),
        ({"contact": {"contactRef": "r"}}, Asks.EMAIL_OR_DEAD_LETTER),
        ({"contact": {"contactRef": " ", "email": "ana@example.org"}}, Asks.EMAIL_OR_DEAD_LETTER),
        ({"contact": {"contactRef": "r", "email": "\ud800"}}, Asks.EMAIL_OR_DEAD_LETTER),
        ({"big": "x" * 1_000_000}, Asks.EMAIL_OR_DEAD_LETTER),
        ({"not": float("nan")}, Asks.EMAIL_OR_DEAD_LETTER),
    ],
)
def test_what_has_to_come_of_a_line(changed: dict[str, object], expected: Asks):
    """Only an action that is surely readable must get an email, and only another stage nothing."""
    assert asks(json.dumps(READABLE | changed).encode()) is expected


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b'"stage"', b"\xff", b"[" * 100_000])
def test_what_is_no_action_has_to_come_to_something(line: bytes):
    """A line that is no JSON object must not vanish: an email or a dead letter."""
    assert asks(line) is Asks.EMAIL_OR_DEAD_LETTER
