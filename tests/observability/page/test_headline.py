"""The sentence at the top: gravest first, and never a person woken for what mends itself."""

from __future__ import annotations

import pytest

from streams.observability.page.headline import LATE, PATIENCE, Facts, Level, Lookup, conclude, percent, spell

DOWN = Lookup("organisation 2", down_for=190.0, asked=3, share=0.0)
WELL = Lookup("organisation 1", asked=100, share=1.0)


def said(**facts: object) -> tuple[Level, str]:
    status = conclude(Facts(**{"emails": 5, **facts}))  # type: ignore[arg-type]
    return status.level, f"{status.headline} {status.rest}"


def test_all_is_well() -> None:
    """Emails leave, and nobody needs to act."""
    assert said(lookups=[WELL]) == (Level.GOOD, "Emails leave. Nobody needs to act.")


def test_a_quiet_topic_is_well_too() -> None:
    """No action for ten minutes is not called sending."""
    level, text = said(emails=0)
    assert level is Level.GOOD
    assert text.startswith("Nothing to send.")


def test_a_worker_without_partitions_stands_by() -> None:
    """More workers than partitions: this one says that others do the work."""
    level, text = said(emails=0, partitions=0)
    assert level is Level.GOOD
    assert "stands by" in text


def test_a_dead_lookup_wakes_nobody() -> None:
    """Which one, since when, and what its signers get; emails leave."""
    level, text = said(lookups=[DOWN, WELL])
    assert level is Level.MENDING
    assert text == (
        "Emails leave. Lookup of organisation 2 has been down for 3 min: its signers get the two-button"
        " letter. Nobody needs to get up."
    )


def test_a_voice_is_not_told_the_time_again_and_again() -> None:
    """What is spoken does not change while only time passes."""
    first = conclude(Facts(emails=1, lookups=[DOWN]))
    later = conclude(Facts(emails=2, lookups=[Lookup("organisation 2", down_for=999.0, asked=4, share=0.0)]))
    assert first.rest != later.rest
    assert first.spoken == later.spoken


def test_many_dead_lookups_are_counted() -> None:
    """More than one: how many, and since when the first."""
    _, text = said(lookups=[DOWN, Lookup("organisation 3", down_for=7_300.0)])
    assert "2 lookups are down, the first for 2 h: their signers get the two-button letter." in text


@pytest.mark.parametrize(("asked", "share", "told"), [(10, 0.62, True), (9, 0.0, False), (50, 0.95, False)])
def test_a_lookup_that_often_fails_is_named(asked: int, share: float, told: bool) -> None:
    """Not for a single failure, but when a good part of enough questions has no answer."""
    _, text = said(lookups=[Lookup("organisation 4", asked=asked, share=share)])
    assert ("Lookup of organisation 4 answers 62 % of its questions." in text) is told


def test_dead_letters_are_mentioned() -> None:
    """New dead letters are worth a word, and can wait for the morning."""
    level, text = said(dead_letters=1)
    assert level is Level.MENDING
    assert "1 record became dead letters" not in text
    assert "1 record became a dead letter in ten minutes" in text


def test_what_waits_for_a_decision_needs_a_person() -> None:
    """A partition that stands still, or a start that is undecided, comes before everything else."""
    level, text = said(decisions=["the worker waits for a decision"], lookups=[DOWN], not_ready=["x"])
    assert level is Level.ACT
    assert text == "A person must act. The worker waits for a decision."


def test_a_stuck_worker_needs_a_restart() -> None:
    """What /livez complains of is said in its words."""
    level, text = said(not_alive=["partition 3 has work and made no progress for 130 s"])
    assert level is Level.ACT
    assert text.startswith("Emails are stuck. Partition 3 has work and made no progress for 130 s.")


def test_not_ready_mends_itself_until_it_lasts() -> None:
    """A start, a rebalance or a broker that is away: a person is asked only after some time."""
    level, text = said(not_ready=["waiting for Kafka"], not_ready_for=PATIENCE - 1)
    assert (level, text) == (
        Level.MENDING,
        "Emails wait. Waiting for Kafka. The worker goes on by itself.",
    )
    level, text = said(not_ready=["waiting for Kafka"], not_ready_for=PATIENCE)
    assert (level, text) == (
        Level.ACT,
        "Emails wait too long. For 5 min: waiting for Kafka. A person must look.",
    )


def test_an_action_that_waits_too_long_needs_a_person() -> None:
    """Late is late, whatever else is well; a person is asked for when the alert would call one."""
    assert said(oldest_age=LATE)[0] is Level.GOOD
    assert said(oldest_age=LATE + 61, lookups=[DOWN]) == (
        Level.MENDING,
        "Emails leave late. The oldest action has waited 2 min."
        " The worker is catching up by itself, or tries to.",
    )
    assert said(oldest_age=PATIENCE) == (
        Level.ACT,
        "Emails leave too late. The oldest action has waited 5 min. A person must look.",
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
def test_durations_are_spelt_for_people(seconds: float, text: str) -> None:
    """One unit, rounded down."""
    assert spell(seconds) == text
