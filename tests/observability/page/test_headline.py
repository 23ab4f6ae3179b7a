"""The sentence at the top: the worst problem first, and no person called for what ends by itself."""

from dataclasses import replace

import pytest

from streams.observability.page.headline import (
    DOWN_IS_KNOWN_FOR,
    LATE,
    PATIENCE,
    LookupCondition,
    LookupFacts,
    Urgency,
    WorkerFacts,
    duration,
    headline_of,
    lookup_condition,
    percent,
)

DOWN = LookupFacts(label="organisation 2", condition=LookupCondition.DOWN, down_for=190.0, share=0.0)
WELL = LookupFacts(label="organisation 1", condition=LookupCondition.ANSWERS, share=1.0)


def said(**facts: object) -> tuple[Urgency, str]:
    headline = headline_of(WorkerFacts(**{"emails": 5, **facts}))  # type: ignore[arg-type]
    return headline.urgency, f"{headline.title} {headline.text}"


def test_all_is_well() -> None:
    """Emails leave, and nobody needs to act."""
    assert said(lookups=[WELL]) == (Urgency.GOOD, "Emails leave. No action is needed.")


def test_a_quiet_topic_is_well_too() -> None:
    """Without an action for ten minutes the page does not claim that emails leave."""
    urgency, text = said(emails=0)
    assert urgency is Urgency.GOOD
    assert text.startswith("Nothing to send.")


def test_what_waits_after_a_quiet_time_has_not_left_yet() -> None:
    """The first actions after a quiet time: the page does not claim that emails leave before one did."""
    assert said(emails=0, waiting=3, oldest_age=5.0) == (
        Urgency.GOOD,
        "Emails are due. The oldest action has waited less than a minute. No action is needed.",
    )


def test_a_worker_without_partitions_is_a_spare() -> None:
    """More workers than partitions: this one says that others do the work."""
    urgency, text = said(emails=0, partitions=0)
    assert urgency is Urgency.GOOD
    assert "this one is a spare" in text


def test_a_dead_lookup_calls_nobody() -> None:
    """Which one, for how long, and what its supporters get; emails leave."""
    urgency, text = said(lookups=[DOWN, WELL])
    assert urgency is Urgency.DEGRADED
    assert text == (
        "Emails leave. The lookup of organisation 2 has been down for 3 min: its supporters get the"
        " two-button letter. No action is needed now."
    )


def test_what_a_screen_reader_speaks_does_not_change_with_the_time() -> None:
    """What is spoken does not change while only time passes."""
    first = headline_of(WorkerFacts(emails=1, lookups=[DOWN]))
    later = headline_of(WorkerFacts(emails=2, lookups=[replace(DOWN, down_for=999.0)]))
    assert first.text != later.text
    assert first.spoken == later.spoken


def test_many_dead_lookups_are_counted() -> None:
    """More than one: how many, and for how long the one that is down for longest."""
    _, text = said(lookups=[DOWN, replace(DOWN, label="organisation 3", down_for=7_300.0)])
    assert "2 lookups are down, one of them for 2 h: their supporters get the two-button letter." in text


def test_a_lookup_that_is_not_asked_any_more_is_not_known_to_be_down() -> None:
    """An open breaker proves nothing once no action asks: the page says that it does not know."""
    assert lookup_condition(9_000.0, -DOWN_IS_KNOWN_FOR, 0, None) is LookupCondition.DOWN
    condition = lookup_condition(9_000.0, -DOWN_IS_KNOWN_FOR - 1, 0, None)
    assert condition is LookupCondition.UNKNOWN
    lookup = replace(DOWN, condition=condition, share=None)
    assert said(lookups=[lookup, lookup]) == (
        Urgency.DEGRADED,
        "Emails leave. It is not known whether the lookup of organisation 2 answers: it was down, and is not"
        " asked now (and 1 more). No action is needed now.",
    )


def test_a_lookup_that_cannot_be_understood_is_named_at_its_first_answer() -> None:
    """Whoever connects a new CRM sees it before every signer has got two buttons."""
    lookup = LookupFacts(
        label="organisation 4",
        condition=LookupCondition.ANSWERS,
        wrong_answer="none of the known fields was in the answer",
    )
    assert said(lookups=[lookup, lookup]) == (
        "degraded",
        "Emails leave. The lookup of organisation 4 cannot be understood: none of the known fields was in the"
        " answer (and 1 more). No action is needed now.",
    )


def test_a_lookup_that_nobody_asked_is_neither_well_nor_down() -> None:
    """Its breaker is closed, which proves nothing; there is nothing to say about it."""
    condition = lookup_condition(None, None, 0, None)
    assert condition is LookupCondition.UNKNOWN
    lookup = LookupFacts(label="organisation 5", condition=condition)
    assert said(lookups=[lookup]) == said()


@pytest.mark.parametrize(("asked", "share", "told"), [(10, 0.62, True), (9, 0.0, False), (50, 0.95, False)])
def test_a_lookup_that_often_fails_is_named(asked: int, share: float, told: bool) -> None:
    """Not for a single failure, but when a good part of enough questions has no answer."""
    condition = lookup_condition(None, None, asked, share)
    _, text = said(lookups=[LookupFacts(label="organisation 4", condition=condition, share=share)])
    assert ("The lookup of organisation 4 answers 62 % of its questions." in text) is told


def test_dead_letters_are_mentioned() -> None:
    """New dead letters are told, and need nobody at once."""
    urgency, text = said(dead_letters=1)
    assert urgency is Urgency.DEGRADED
    assert "1 record became dead letters" not in text
    assert "1 record became a dead letter in ten minutes" in text


def test_what_waits_for_a_decision_needs_a_person() -> None:
    """A partition that stands still, or a start that is not decided, comes before everything else."""
    urgency, text = said(decisions=["the worker waits for a decision"], lookups=[DOWN], not_ready=["x"])
    assert urgency is Urgency.ACT
    assert text == "A person must act. The worker waits for a decision."


def test_a_stuck_worker_needs_a_restart() -> None:
    """The page repeats the sentence of /livez."""
    urgency, text = said(not_alive=["partition 3 has work and made no progress for 130 s"])
    assert urgency is Urgency.ACT
    assert text.startswith("Emails are stuck. Partition 3 has work and made no progress for 130 s.")


def test_a_worker_that_is_not_ready_calls_a_person_when_it_lasts() -> None:
    """A start, a rebalance or a broker that is away: a person is asked only after some time."""
    urgency, text = said(not_ready=["waiting for Kafka"], not_ready_for=PATIENCE - 1)
    assert (urgency, text) == (
        Urgency.DEGRADED,
        "Emails may be delayed. Waiting for Kafka. The worker keeps trying; no action is needed yet.",
    )
    urgency, text = said(not_ready=["waiting for Kafka"], not_ready_for=PATIENCE)
    assert (urgency, text) == (
        Urgency.ACT,
        "Emails may be delayed. For 5 min: waiting for Kafka. A person must look.",
    )


def test_an_action_that_waits_too_long_needs_a_person() -> None:
    """After a minute the page says so, whatever else is well; a person must look when the alert calls one."""
    assert said(oldest_age=LATE)[0] is Urgency.GOOD
    assert said(oldest_age=LATE + 61, lookups=[DOWN]) == (
        Urgency.DEGRADED,
        "Emails are late. The oldest action has waited 2 min."
        " The worker keeps trying; no action is needed yet.",
    )
    assert said(oldest_age=PATIENCE) == (
        Urgency.ACT,
        "Emails are too late. The oldest action has waited 5 min. A person must look.",
    )


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.001, "1 %"), (0.62, "62 %"), (0.999, "99 %"), (1.0, "100 %")]
)
def test_only_all_is_a_hundred_percent(share: float, text: str) -> None:
    """A share that is not whole never looks whole."""
    assert percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "1 s"), (59.9, "59 s"), (60, "1 min"), (7_199, "1 h"), (200_000, "2 d")]
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    """One unit, rounded down."""
    assert duration(seconds) == text
