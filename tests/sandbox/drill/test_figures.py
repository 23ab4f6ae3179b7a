"""The figures of a run."""

from collections.abc import Sequence

from streams.sandbox.account import Account
from streams.sandbox.drill.crowd import Group
from streams.sandbox.drill.figures import Delays, Figures, Timeline, figures, opened_at
from streams.sandbox.mailer import Arrival
from tests.sandbox.records import NAMES, action, email

GROUPS = (Group.AFFECTED, Group.AFFECTED, Group.AFFECTED, Group.AFFECTED, Group.HEALTHY)
DEADLINE = 1.0  # seconds


def run(arrivals: list[Arrival], breaker: Timeline = (), groups: Sequence[Group] = GROUPS) -> Figures:
    """Actions by offset are of the groups."""
    account: Account[Group] = Account(NAMES, lambda record: groups[record.offset])
    account.take(arrivals)
    return figures(account, breaker, DEADLINE)


def test_one_email_each_is_exactly_once() -> None:
    """Every action with one email, in any order: nothing missing, nothing doubled."""
    found = run([action(0, 1000.0), action(4, 1001.0), email(4, 1002.5), email(0, 1000.1)])
    assert found.exactly_once
    assert (found.groups[Group.AFFECTED].actions, found.groups[Group.AFFECTED].emails) == (1, 1)
    assert found.groups[Group.HEALTHY].emails == 1


def test_an_email_too_many_or_too_few_is_not_exactly_once() -> None:
    """One missing, one doubled or one of no action: each spoils it, and is counted."""
    both = [action(0, 1000.0), action(1, 1000.0), email(0, 1000.1)]
    missing, doubled, stranger = (
        run(both),
        run([*both, email(1, 1000.1), email(1, 1000.2)]),
        run([*both, email(1, 1000.1), email(3, 1000.2)]),
    )
    assert [found.groups[Group.AFFECTED].missing for found in (missing, doubled, stranger)] == [1, 0, 0]
    assert [found.groups[Group.AFFECTED].doubled for found in (missing, doubled, stranger)] == [0, 1, 0]
    assert [found.uncalled for found in (missing, doubled, stranger)] == [0, 0, 1]
    assert not any(found.exactly_once for found in (missing, doubled, stranger))


def test_affected_delays_are_parted_where_the_breaker_was_seen_open() -> None:
    """An action from before that counts with those until then, one from after with those once it was open."""
    arrivals = [action(offset, 1000.0 + offset) for offset in range(5)]
    arrivals += [email(offset, 1000.0 + offset + delay) for offset, delay in enumerate((1, 1, 0.5, 0.5, 9))]
    found = run(arrivals, [(0.0, "closed"), (2.0, "open"), (3.0, "half_open")])
    assert found.until_open.affected == Delays(1, 1, 1)
    assert found.once_open.affected == Delays(0.5, 0.5, 0.5)


def test_the_known_are_those_whose_emails_are_made_in_the_same_seconds() -> None:
    """Until the breaker was open, emails of the affected come a deadline later: so do those beside them."""
    groups = (Group.AFFECTED, *(Group.KNOWN,) * 4)
    sent = (1000.0, 1000.5, 1002.0, 1002.9, 1003.5)
    arrivals = [action(offset, at) for offset, at in enumerate(sent)]
    arrivals += [email(offset, at + 0.125 * (offset + 1)) for offset, at in enumerate(sent)]
    found = run(arrivals, [(2.0, "open")], groups)
    assert found.until_open.known == Delays(0.375, 0.5, 0.5)
    assert found.once_open.known == Delays(0.5, 0.625, 0.625)


def test_the_actions_own_delays_are_those_to_the_reader() -> None:
    """Of all groups, by when the reader of the emails had the action."""
    arrivals = [action(0, 1000.0), action(4, 1001.0)]
    own = [arrivals[0]._replace(seen_at=1000.25), arrivals[1]._replace(seen_at=1001.5)]
    assert run(own).own == Delays(0.25, 0.5, 0.5)


def test_without_an_opening_all_delays_are_from_before_it() -> None:
    """A breaker that stays closed leaves nothing to judge afterwards."""
    found = run([action(0, 1000.0), email(0, 1000.5)], [(0.0, "closed")])
    assert found.until_open.affected.p99 == 0.5
    assert found.once_open.affected == Delays(None, None, None)


def test_percentiles_are_delays_that_somebody_had() -> None:
    """Nearest rank: of 200 delays the 99th percentile is the 198th, and two at the top do not move it."""
    delays = Delays.of([*[0.001 * number for number in range(1, 199)], 50.0, 60.0])
    assert (delays.p50, delays.p99, delays.most) == (0.1, 0.198, 60.0)


def test_half_open_counts_as_opened() -> None:
    """An opening that fell between two looks is told by the probe that follows it."""
    assert opened_at([(0.0, "closed"), (1.5, "half_open")]) == 1.5
    assert opened_at([(0.0, "closed")]) is None
