"""When a demo did not show what it should."""

import pytest

from streams.commands.audit.matching import Counts, Owed
from streams.commands.audit.outcome import AuditResult
from streams.commands.topic_reader import RecordId
from streams.messages.strict_json import ErrorClass
from streams.sandbox.account import Delay, SeenEmail, Tally
from streams.sandbox.demo.performance import objections
from streams.sandbox.demo.phases import Phase
from streams.sandbox.lookup_service import Behaviour

PHASES = [Phase("healthy", Behaviour.HEALTHY, 1), Phase("slow", Behaviour.SLOW, 1)]


def tallies(*error_classes: ErrorClass) -> list[Tally]:
    """Two phases with an email each, and these dead letters in the first."""
    both = [Tally(actions=1) for _ in PHASES]
    for tally in both:
        tally.add(SeenEmail("id", "two_button", "no_lookup"), Delay(0.0, 0.1))
    both[0].dead_letters.update(error_classes)
    return both


def audit(**changed: object) -> AuditResult:
    return AuditResult(Counts(asked=2, emails=2), **changed)  # type: ignore[arg-type]  # each test changes one


def test_a_demo_in_which_everything_matches_is_not_objected_to() -> None:
    """An audit that holds, and an email in each phase."""
    assert objections(audit(), PHASES, tallies(), ()) == []


@pytest.mark.parametrize(
    ("found", "objection"),
    [
        (audit(missing=[Owed(RecordId(0, 1), 0, 7)]), "actions and emails do not match one to one"),
        (audit(doubled=[RecordId(0, 1)]), "actions and emails do not match one to one"),
        (audit(in_flight=2, held_back=1), "3 actions are not settled"),
        (audit(unasked=1, unattributed=1), "2 emails were asked for by no action"),
    ],
)
def test_what_the_audit_finds_is_objected_to(found: AuditResult, objection: str) -> None:
    """Each of its findings that must not be in a demo is told in half a sentence."""
    assert objections(found, PHASES, tallies(), ()) == [objection]


def test_a_dead_letter_that_the_actions_do_not_explain_is_objected_to() -> None:
    """A file of one's own may have unreadable lines; a failure of our own code is never explained."""
    both = tallies(ErrorClass.NOT_JSON, ErrorClass.INTERNAL_ERROR)
    assert objections(audit(), PHASES, both, {ErrorClass.NOT_JSON}) == [
        "1 actions without fault became dead letters (error classes: internal_error)"
    ]
    assert objections(audit(), PHASES, both, ()) == [
        "2 actions without fault became dead letters (error classes: internal_error, not_json)"
    ]


def test_a_phase_without_emails_is_objected_to() -> None:
    """A phase in which no email left proves nothing, even if the count is right."""
    assert objections(audit(), PHASES, [tallies()[0], Tally()], ()) == [
        "no email left for the actions of phase 2, slow"
    ]
