"""How a breaker's states are drawn."""

from streams.sandbox.drill.report import strip


def test_states_become_a_sign_a_second() -> None:
    """Closed before the first lookup, then as each second ended, until the last action."""
    assert strip([(0.1, "closed"), (1.4, "open")], 3.2) == "○●●●"


def test_a_short_probe_is_not_overlooked() -> None:
    """A second with a half-open moment shows it, and the next one does not."""
    assert strip([(0.1, "open"), (1.4, "half_open"), (1.5, "open")], 3.0) == "●◐●"


def test_a_closed_breaker_stays_so() -> None:
    """What closes again is drawn closed; nobody asked is closed too."""
    assert strip([(0.0, "open"), (1.0, "half_open"), (1.1, "closed")], 3.0) == "●◐○"
    assert strip([], 2.0) == "○○"
