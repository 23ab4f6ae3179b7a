"""What a window of letters knows, and for how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.letter_window import LetterWindow

WINDOW, MOST = 60.0, 4
WRITTEN = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"]), st.floats(0, 40)))


def test_the_last_letter_about_something_is_known_for_so_long() -> None:
    """The id is that of the last one; what was not written, or is too long ago, is not known."""
    window = LetterWindow(WINDOW, MOST)
    window.add(b"a", b"1", 1_000.0)
    assert window.letter(b"b", 1_000.0) is None
    assert window.letter(b"a", 1_059.0) == b"1"
    assert window.letter(b"a", 1_060.0) is None
    window.add(b"a", b"2", 1_030.0)
    assert (window.letter(b"a", 1_080.0), len(window)) == (b"2", 1)


def test_a_clock_that_was_ahead_costs_a_second_letter_only() -> None:
    """A mark from far ahead says nothing, and one from a moment ahead does."""
    window = LetterWindow(WINDOW, MOST)
    window.add(b"a", b"1", 9_000.0)
    assert window.letter(b"a", 1_000.0) is None
    window.add(b"b", b"2", 1_001.0)
    assert window.letter(b"b", 1_000.0) == b"2"


def test_a_mark_that_is_read_again_does_not_replace_a_newer_one() -> None:
    """The lane of the same number reads the marks while this one writes; a wrong clock is no newer one."""
    window = LetterWindow(WINDOW, MOST)
    window.add(b"a", b"2", 1_030.0)
    window.add(b"a", b"1", 1_000.0)
    assert window.letter(b"a", 1_080.0) == b"2"
    window.add(b"b", b"3", 9_000.0)
    window.add(b"b", b"4", 1_030.0)
    assert window.letter(b"b", 1_030.0) == b"4"


@given(WRITTEN)
def test_it_knows_what_it_must_and_never_more_than_it_may(written: list[tuple[bytes, float]]) -> None:
    """A letter within the window is known while no more than so many others are newer."""
    window, now = LetterWindow(WINDOW, MOST), 1_000.0
    letters: dict[bytes, tuple[bytes, float]] = {}
    for number, (about, pause) in enumerate(written):
        now += pause
        letter = b"%d" % number
        window.add(about, letter, now)
        letters.pop(about, None)
        letters[about] = (letter, now)
        assert len(window) <= MOST
        for other, (expected, at) in letters.items():
            newer = list(letters)[::-1].index(other)
            known = window.letter(other, now)
            assert known == (expected if newer < MOST and now - at < WINDOW else None)
