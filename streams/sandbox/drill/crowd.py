"""Who acts in a drill: three groups, on one topic, in one order that mixes them.

The same people act in every mode. Every address is at a domain that is reserved for examples (RFC 2606,
section 3).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import orjson

AFFECTED_ORG = 310
"""The organisation whose CRM dies."""
HEALTHY_ORG = 311
"""The organisation whose CRM answers."""


class Group(StrEnum):
    """Whose emails are told apart."""

    AFFECTED = "affected"  # of the organisation whose CRM dies; nobody's status is known
    HEALTHY = "healthy organisation"  # the other organisation; nobody's status is known
    KNOWN = "known supporters"  # of the affected organisation, but their status is in the table


class Act(NamedTuple):
    """One action record, as it is sent."""

    action_id: int
    group: Group
    key: bytes
    value: bytes


_ORG_OF = {Group.AFFECTED: AFFECTED_ORG, Group.HEALTHY: HEALTHY_ORG, Group.KNOWN: AFFECTED_ORG}
_BESIDE = (Group.HEALTHY, Group.KNOWN)


def group_of(action_id: int) -> Group:
    """The group of an action, by its number: every second is affected, the others take turns."""
    return Group.AFFECTED if action_id % 2 == 0 else _BESIDE[action_id // 2 % 2]


def acts(affected: int) -> Iterator[Act]:
    """The actions of one mode: ``affected`` of the affected organisation, and as many others among them."""
    return (_act(action_id, group_of(action_id)) for action_id in range(2 * affected))


def warm_up(count: int) -> Iterator[Act]:
    """Actions of the healthy organisation, with negative numbers, for a worker that has just started."""
    return (_act(-number, Group.HEALTHY) for number in range(1, count + 1))


def _act(action_id: int, group: Group) -> Act:
    org_id, email = _ORG_OF[group], f"supporter.{action_id}@example.org"
    contact_ref = _contact_ref(email)
    document = {
        "schema": "proca:action:2",
        "stage": "supporter_confirm",
        "actionId": action_id,
        "orgId": org_id,
        "contact": {"firstName": "Ana", "email": email, "contactRef": contact_ref},
    }
    return Act(action_id, group, f"{org_id}:{contact_ref}".encode(), orjson.dumps(document))


def statuses(affected: int) -> list[tuple[bytes, bytes]]:
    """Key and value of the status row of each known supporter."""
    rows = []
    for act in acts(affected):
        if act.group is Group.KNOWN:
            contact_ref = act.key.partition(b":")[2].decode()
            row = {
                "orgId": AFFECTED_ORG,
                "contactRef": contact_ref,
                "subscribed": act.action_id % 8 < 4,
                "asOf": "2026-01-01T00:00:00Z",
            }
            rows.append((act.key, orjson.dumps(row)))
    return rows


def _contact_ref(email: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(email.encode()).digest()).decode().rstrip("=")
