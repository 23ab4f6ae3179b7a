"""Counting a run."""

from __future__ import annotations

from streams.sandbox.drill.crowd import Group
from streams.sandbox.drill.figures import Arrival, Delays, Sent, figures, opened_at


def sent(*ids: int, group: Group = Group.AFFECTED) -> list[Sent]:
    return [Sent(number, group, 1000.0 + number) for number in ids]


def test_one_email_each_is_exactly_once() -> None:
    """Every action with one email, in any order: nothing missing, nothing doubled."""
    acts = [*sent(0, 2), *sent(1, group=Group.KNOWN)]
    found = figures(acts, [Arrival(2, 1002.5), Arrival(0, 1000.1), Arrival(1, 1001.2)], [])
    assert found.exactly_once
    assert (found.groups[Group.AFFECTED].actions, found.groups[Group.AFFECTED].emails) == (2, 2)
    assert found.groups[Group.KNOWN].emails == 1


def test_a_missing_one_and_a_doubled_one_do_not_make_up_for_each_other() -> None:
    """As many emails as actions, but one action has two of them and one has none."""
    found = figures(sent(0, 2), [Arrival(0, 1000.1), Arrival(0, 1000.2)], [])
    affected = found.groups[Group.AFFECTED]
    assert (affected.actions, affected.emails, affected.missing, affected.doubled) == (2, 2, 1, 1)
    assert not found.exactly_once


def test_an_email_of_no_action_is_uncalled() -> None:
    """An email whose action was never sent spoils exactly once."""
    found = figures(sent(0), [Arrival(0, 1000.1), Arrival(7, 1000.2)], [])
    assert found.uncalled == 1
    assert not found.exactly_once


def test_the_delay_is_that_of_the_first_email() -> None:
    """A repeat does not make an action slower."""
    found = figures(sent(0), [Arrival(0, 1009.0), Arrival(0, 1000.25)], [])
    assert found.groups[Group.AFFECTED].delays == Delays(0.25, 0.25, 0.25)


def test_affected_delays_are_parted_where_the_breaker_was_seen_open() -> None:
    """An action from before that counts with those until then, one from after with those once it was open."""
    acts = [*sent(0, 1, 2, 3), *sent(4, group=Group.HEALTHY)]
    arrivals = [Arrival(number, 1000.0 + number + delay) for number, delay in enumerate((1, 1, 0.5, 0.5, 9))]
    found = figures(acts, arrivals, [(0.0, "closed"), (2.0, "open"), (3.0, "half_open")])
    assert found.until_open == Delays(1, 1, 1)
    assert found.once_open == Delays(0.5, 0.5, 0.5)


def test_without_an_opening_all_delays_are_from_before_it() -> None:
    """A breaker that stays closed leaves nothing to judge afterwards."""
    found = figures(sent(0), [Arrival(0, 1000.5)], [(0.0, "closed")])
    assert found.until_open.p99 == 0.5
    assert found.once_open == Delays(None, None, None)


def test_percentiles_are_delays_that_somebody_had() -> None:
    """Nearest rank: of 200 delays the 99th percentile is the 198th, and two at the top do not move it."""
    delays = Delays.of([*[0.001 * number for number in range(1, 199)], 50.0, 60.0])
    assert (delays.p50, delays.p99, delays.most) == (0.1, 0.198, 60.0)


def test_half_open_counts_as_opened() -> None:
    """An opening that fell between two looks is told by the probe that follows it."""
    assert opened_at([(0.0, "closed"), (1.5, "half_open")]) == 1.5
    assert opened_at([(0.0, "closed")]) is None
