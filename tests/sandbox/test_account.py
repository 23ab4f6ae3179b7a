"""What is counted of the actions of a demo or drill."""

import itertools
from types import SimpleNamespace

import pytest

from streams.messages.strict_json import ErrorClass
from streams.sandbox.account import Account, Tally
from streams.sandbox.mailer import Arrival
from tests.sandbox.records import NAMES, action, dead_letter, email


def account(*arrivals: Arrival) -> Account[str]:
    found: Account[str] = Account(NAMES, lambda record: "late" if record.timestamp >= 200_000 else "early")
    found.take(arrivals)
    return found


def early(*arrivals: Arrival) -> Tally:
    return account(*arrivals).parts["early"]


def test_one_email_for_each_action() -> None:
    """Each action with its email: nothing is missing, doubled or uncalled for."""
    found = account(action(0, 100.0), action(1, 100.1), email(1, 100.4), email(0, 100.5))
    tally = found.parts["early"]
    assert (tally.actions, tally.emails_out, tally.missing, tally.doubled) == (2, 2, 0, 0)
    assert [delay.seconds for delay in tally.delays] == pytest.approx([0.3, 0.5])
    assert found.uncalled == 0


def test_a_missing_and_a_doubled_email_do_not_make_up_for_each_other() -> None:
    """As many emails as actions, but one action has two of them and one has none."""
    tally = early(action(0, 100.0), action(1, 100.0), email(0, 100.5), email(0, 100.9))
    assert (tally.actions, tally.emails_out, tally.missing, tally.doubled, tally.repeats) == (2, 2, 1, 1, 1)
    assert [delay.seconds for delay in tally.delays] == pytest.approx([0.5]), "the first one counts"


def test_an_email_of_no_action_is_uncalled_for() -> None:
    """An email whose action is not there, and one that cannot be read, are no action's."""
    unreadable = Arrival(SimpleNamespace(topic=NAMES.emails, partition=0, offset=9, value=b"{"), 100.0)
    found = account(action(0, 100.0), email(0, 100.5), email(7, 100.5), unreadable)
    assert found.uncalled == 2
    assert found.parts["early"].emails_out == 1


@pytest.mark.parametrize(
    "order", list(itertools.permutations([action(0, 100.0), email(0, 100.3), email(0, 100.4)]))
)
def test_any_order_of_the_records_counts_alike(order: tuple[Arrival, ...]) -> None:
    """The reader may have an email before its action."""
    tally = early(*order)
    assert (tally.actions, tally.emails.total(), tally.repeats, tally.doubled) == (1, 1, 1, 1)


def test_an_email_belongs_to_the_part_of_its_action() -> None:
    """An email that comes late is counted where its action is."""
    parts = account(action(0, 199.9), action(1, 200.0), email(0, 201.0)).parts
    assert {part: tally.emails_out for part, tally in parts.items()} == {"early": 1, "late": 0}


def test_delays_of_known_supporters_are_kept_apart() -> None:
    """Only a status from the table makes a supporter known; one without a lookup is not."""
    tally = early(
        *(action(offset, 100.0) for offset in range(3)),
        email(0, 100.1, "one_button", "known_subscribed"),
        email(1, 100.2, "one_button", "lookup_subscribed", lookup={"outcome": "existing", "cause": None}),
        email(2, 100.3, "two_button", "no_lookup"),
    )
    assert len(tally.delays) == 3
    assert [delay.seconds for delay in tally.known_delays] == pytest.approx([0.1])


def test_the_causes_of_failed_lookups_are_counted() -> None:
    """An email says why its lookup failed."""
    failed = {"outcome": "error", "cause": "timeout"}
    tally = early(action(0, 100.0), email(0, 100.1, "two_button", "lookup_failed", lookup=failed))
    assert tally.causes == {"timeout": 1}
    assert tally.emails == {("two_button", "lookup_failed"): 1}


@pytest.mark.parametrize("order", list(itertools.permutations([action(0, 100.0), dead_letter(0, 100.3)])))
def test_dead_letters_are_counted_by_their_error_class(order: tuple[Arrival, ...]) -> None:
    """A dead letter belongs to the part of its action; the action has no email."""
    tally = early(*order)
    assert tally.dead_letters == {ErrorClass.NOT_JSON: 1}
    assert (tally.actions, tally.missing) == (1, 1)
