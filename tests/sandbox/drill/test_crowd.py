"""Who acts in a drill."""

from __future__ import annotations

from collections import Counter

from streams.messages.decode import decode_action, status_key
from streams.sandbox.drill.crowd import AFFECTED_ORG, HEALTHY_ORG, Group, acts, statuses, warm_up


def test_half_of_the_actions_are_affected_and_the_others_are_spread_among_them() -> None:
    """1,400 affected, 700 of each other group; no stretch of four is without all of them."""
    groups = [act.group for act in acts(1_400)]
    assert Counter(groups) == {Group.AFFECTED: 1_400, Group.HEALTHY: 700, Group.KNOWN: 700}
    assert all(set(groups[start : start + 4]) == set(Group) for start in range(0, len(groups) - 4, 4))


def test_every_action_is_one_that_the_worker_reads() -> None:
    """The worker's own decoder finds the organisation and the key; no two actions share a supporter."""
    decoded = {act.action_id: decode_action(act.value) for act in acts(50)}
    for act in acts(50):
        action = decoded[act.action_id]
        assert action is not None
        assert action.org_id == (HEALTHY_ORG if act.group is Group.HEALTHY else AFFECTED_ORG)
        assert act.key == status_key(action.org_id, action.contact_ref)
    assert len({act.key for act in acts(50)}) == 100


def test_exactly_the_known_supporters_have_a_status() -> None:
    """A status row for each of them, under the key that their action has."""
    assert [key for key, _ in statuses(50)] == [act.key for act in acts(50) if act.group is Group.KNOWN]


def test_the_warm_up_is_apart_from_what_is_measured() -> None:
    """Its actions are the healthy organisation's, of other people, and their numbers are negative."""
    measured = {act.key for act in acts(50)}
    for act in warm_up(20):
        assert act.action_id < 0
        assert act.key.startswith(b"%d:" % HEALTHY_ORG)
        assert act.key not in measured
