"""Whether a service is quick enough to be waited for."""

from streams.lookup.latency import FAST, Latency

LONG = FAST * 2


def test_what_is_not_out_for_long_is_waited_for() -> None:
    """Of a service of which nothing is known yet too."""
    assert Latency().holds(FAST, 100.0)
    assert not Latency().holds(LONG, 100.0)


def test_a_laggard_among_quick_ones_changes_nothing() -> None:
    """As long as the others are answered; their silence does."""
    service = Latency()
    service.ended(0.005)
    service.answered(100.0)
    assert service.holds(LONG, 100.0 + FAST * 0.9)
    assert not service.holds(LONG, 100.0 + FAST * 1.1)


def test_a_service_that_is_slow_as_a_rule_is_not_waited_for() -> None:
    """Even while somebody is answered all the time; and it is once it is quick again."""
    service = Latency()
    for ended, expected in ((1.0, False), (0.005, True)):
        for _ in range(100):
            service.ended(ended)
            service.answered(100.0)
        assert service.holds(LONG, 100.0) is expected
