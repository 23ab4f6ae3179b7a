"""The dead-letter ceiling."""

from __future__ import annotations

import pytest

from streams.actions.dead_letter import LEAST, WINDOW, DeadLetterLimit


def test_a_few_dead_letters_stop_nothing() -> None:
    """Up to the share, and before anything is known of a share, the partition goes on."""
    dead_letter_limit = DeadLetterLimit(0.5)
    for _ in range(LEAST - 1):
        dead_letter_limit.note_dead_letter()
    assert not dead_letter_limit.exceeded


def test_more_than_the_share_stops_it() -> None:
    """One dead letter more than the share of the window allows stops the partition."""
    dead_letter_limit = DeadLetterLimit(0.5)
    for _ in range(WINDOW // 2):
        dead_letter_limit.note_good()
    for _ in range(WINDOW // 2):
        dead_letter_limit.note_dead_letter()
        assert not dead_letter_limit.exceeded
    dead_letter_limit.note_dead_letter()
    assert dead_letter_limit.exceeded


def test_only_the_last_actions_count() -> None:
    """Dead letters of long ago are forgotten."""
    dead_letter_limit = DeadLetterLimit(0.1)
    for _ in range(LEAST - 1):
        dead_letter_limit.note_dead_letter()
    for _ in range(WINDOW):
        dead_letter_limit.note_good()
    dead_letter_limit.note_dead_letter()
    assert not dead_letter_limit.exceeded


@pytest.mark.parametrize(("share", "stops"), [(1.0, False), (0.99, True), (0.0, True)])
def test_a_share_of_one_never_stops(share: float, stops: bool) -> None:
    """With nothing but dead letters every ceiling stops but one of 1."""
    dead_letter_limit = DeadLetterLimit(share)
    for _ in range(2 * WINDOW):
        dead_letter_limit.note_dead_letter()
    assert dead_letter_limit.exceeded is stops
