"""What is decided of an action by its key alone is what is decided of the whole record."""

from __future__ import annotations

from streams.actions.decision import decide
from streams.actions.outcomes import Emailed
from streams.actions.rekeying import Rekeying
from streams.messages.decode import Cause, LookupOutcome, Outcome
from tests.actions.test_processor import Bench, asks, concluded


def test_a_key_decides_alone_where_nobody_is_asked() -> None:
    """A known status, an open breaker, no lookup: as for the whole record, and nobody is asked."""
    bench = Bench()
    bench.statuses.known[b"310:ref"] = True
    failed = LookupOutcome(Outcome.ERROR, Cause.CIRCUIT_OPEN)
    bench.lookups.unasked = {310: "ask", 311: failed, 312: None, 313: "ask"}.__getitem__
    bench.lookups.reply = lambda question: failed if question.org_id == 311 else None
    for org_id in (310, 311, 312):
        grounds = bench.confirmation.without_asking(b"%d:ref" % org_id, org_id, bench.now)
        result = concluded(bench.process(asks(org_id)))
        assert grounds is not None
        assert isinstance(result.outcome, Emailed)
        assert decide(*grounds) == (result.outcome.variant, result.outcome.reason)
        assert (grounds[1] is failed) is bool(result.outcome.lookup_cause)
    assert bench.confirmation.without_asking(b"313:ref", 313, bench.now) is None
    assert [question.org_id for question in bench.lookups.questions] == [311, 312]


def test_a_key_does_not_decide_where_the_rest_of_the_record_matters() -> None:
    """Where the message may say that its signer is subscribed, or the action lies in the wrong partition."""
    says, moves = Bench(message_decides=lambda _: True), Bench(rekeying=Rekeying("rekeyed", 3, 12))
    for bench in (says, moves):
        bench.lookups.unasked = lambda _: None
    assert says.confirmation.without_asking(b"310:ref", 310, 1.0) is None
    keys = [b"310:%d" % number for number in range(50)]
    decided = [moves.confirmation.without_asking(key, 310, 1.0) for key in keys]
    assert {each is None for each in decided} == {True, False}


def test_an_organisation_is_looked_at_once_in_a_moment() -> None:
    """Thousands of actions of one moment cost one look at its breaker; the next moment costs another."""
    bench, seen = Bench(), []
    bench.lookups.unasked = lambda org_id: seen.append(org_id)
    for now in (1.0, 1.0, 2.0):
        assert bench.confirmation.without_asking(b"310:ref", 310, now) == (None, None)
    assert seen == [310, 310]
