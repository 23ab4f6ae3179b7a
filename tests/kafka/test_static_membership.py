"""When a static member's answers show that a namesake took its membership."""

import pytest

from streams.kafka.static_membership import Membership

SESSION = 6.0
OK, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, FENCED_INSTANCE_ID = 0, 25, 27, 82


@pytest.mark.parametrize("sign_of_life", [OK, REBALANCE_IN_PROGRESS])
def test_unknown_before_the_session_can_have_ended_is_a_namesake_s_doing(sign_of_life: int) -> None:
    """Alive at 10 s, unknown at 15.9 s with a session of 6 s: nobody but a namesake ends it so early."""
    membership = Membership(SESSION)
    assert not membership.taken(sign_of_life, sent_at=10.0, now=10.1)
    assert membership.taken(UNKNOWN_MEMBER_ID, sent_at=15.8, now=15.9)


def test_unknown_after_the_session_s_length_is_an_expired_session() -> None:
    """Stopped or cut off for longer than the session: the member joins again."""
    membership = Membership(SESSION)
    assert not membership.taken(OK, sent_at=10.0, now=10.1)
    assert not membership.taken(UNKNOWN_MEMBER_ID, sent_at=15.9, now=16.0)


def test_the_session_is_counted_from_when_the_sign_of_life_was_sent() -> None:
    """An answer that came late (the process was stopped) does not make the session look younger."""
    membership = Membership(SESSION)
    assert not membership.taken(OK, sent_at=10.0, now=15.0)
    assert not membership.taken(UNKNOWN_MEMBER_ID, sent_at=16.5, now=16.6)


def test_without_a_sign_of_life_unknown_says_nothing() -> None:
    """Unknown at once, or twice in a row: the member joins (again), and is not accused of a namesake."""
    membership = Membership(SESSION)
    assert not membership.taken(UNKNOWN_MEMBER_ID, sent_at=1.0, now=1.1)
    assert not membership.taken(OK, sent_at=10.0, now=10.1)
    assert not membership.taken(UNKNOWN_MEMBER_ID, sent_at=17.0, now=17.1)
    assert not membership.taken(UNKNOWN_MEMBER_ID, sent_at=17.2, now=17.3)


def test_a_fenced_instance_id_needs_no_arithmetic() -> None:
    """The broker says it itself."""
    assert Membership(SESSION).taken(FENCED_INSTANCE_ID, sent_at=100.0, now=100.1)
