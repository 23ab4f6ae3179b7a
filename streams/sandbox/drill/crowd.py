"""Who acts in a drill: three groups, on one topic, in one order that mixes them, the same in every mode."""

from collections.abc import Iterator
from enum import StrEnum

import orjson

from streams.sandbox.people import Supporter, somebody

AFFECTED_ORG = 310
"""The organisation whose CRM dies."""
HEALTHY_ORG = 311
"""The organisation whose CRM answers."""


class Group(StrEnum):
    """Whose emails are told apart."""

    AFFECTED = "affected"  # of the organisation whose CRM dies; nobody's status is known
    HEALTHY = "healthy organisation"  # the other organisation; nobody's status is known
    KNOWN = "known supporters"  # of the affected organisation, but their status is in the table


_ORG_OF = {Group.AFFECTED: AFFECTED_ORG, Group.HEALTHY: HEALTHY_ORG, Group.KNOWN: AFFECTED_ORG}
_BESIDE = (Group.HEALTHY, Group.KNOWN)


def group_of(action_id: int) -> Group:
    """Return the group of an action, by its number: every second is affected, the others take turns."""
    return Group.AFFECTED if action_id % 2 == 0 else _BESIDE[action_id // 2 % 2]


def actions(affected: int) -> Iterator[bytes]:
    """The actions of one mode: `affected` of the affected organisation, and as many others among them."""
    return (_action(action_id) for action_id in range(2 * affected))


def warm_up(count: int) -> Iterator[bytes]:
    """Actions of the healthy organisation, with negative numbers, for a worker that has just started."""
    return (_action(-number) for number in range(1, count + 1))


def statuses(affected: int) -> list[bytes]:
    """The status row of each known supporter."""
    return [
        _supporter(action_id).status(subscribed=action_id % 8 < 4, as_of="2026-01-01T00:00:00Z")
        for action_id in range(2 * affected)
        if group_of(action_id) is Group.KNOWN
    ]


def _action(action_id: int) -> bytes:
    return orjson.dumps(_supporter(action_id).action(action_id))


def _supporter(action_id: int) -> Supporter:
    org_id = HEALTHY_ORG if action_id < 0 else _ORG_OF[group_of(action_id)]
    return somebody(f"supporter.{action_id}@example.org", org_id)
