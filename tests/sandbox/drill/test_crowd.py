"""Who acts in a drill."""

from collections import Counter

from streams.commands.keyed_lines import action_message, status_message
from streams.messages.decode import decode_action, status_key
from streams.sandbox.drill.crowd import AFFECTED_ORG, HEALTHY_ORG, Group, actions, group_of, statuses, warm_up


def test_half_of_the_actions_are_affected_and_the_others_are_spread_among_them() -> None:
    """1,400 affected, 700 of each other group; no stretch of four is without all of them."""
    groups = [group_of(action_id) for action_id in range(2_800)]
    assert Counter(groups) == {Group.AFFECTED: 1_400, Group.HEALTHY: 700, Group.KNOWN: 700}
    assert all(set(groups[start : start + 4]) == set(Group) for start in range(0, len(groups) - 4, 4))


def test_every_action_is_one_that_the_worker_reads() -> None:
    """The worker's own decoder finds the organisation and the key; no two actions share a supporter."""
    keys = set()
    for action_id, line in enumerate(actions(50)):
        action = decode_action(line)
        assert action is not None
        assert action.action_id == action_id
        assert action.org_id == (HEALTHY_ORG if group_of(action_id) is Group.HEALTHY else AFFECTED_ORG)
        keys.add(status_key(action.org_id, action.contact_ref))
    assert len(keys) == 100


def test_exactly_the_known_supporters_have_a_status() -> None:
    """A status row for each of them, under the key that their action has."""
    known = [
        action_message(line).key
        for action_id, line in enumerate(actions(50))
        if group_of(action_id) is Group.KNOWN
    ]
    assert [status_message(line).key for line in statuses(50)] == known


def test_the_warm_up_is_apart_from_what_is_measured() -> None:
    """Its actions are the healthy organisation's, of other people, and their numbers are negative."""
    measured = {action_message(line).key for line in actions(50)}
    for line in warm_up(20):
        action = decode_action(line)
        assert action is not None
        assert action.action_id < 0
        assert action.org_id == HEALTHY_ORG
        assert action_message(line).key not in measured
