"""What a run came to, in numbers, from what was sent and what arrived. Pure; every time is in seconds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.observability.quantile import quantile
from streams.sandbox.drill.crowd import Group

Timeline = Sequence[tuple[float, str]]
"""The states of a breaker, each with the seconds since the first action at which it was first seen."""


class Sent(NamedTuple):
    """An action on the topic."""

    action_id: int
    group: Group
    at: float  # the record's timestamp, since the epoch


class Arrival(NamedTuple):
    """An email that the independent reader has."""

    action_id: int
    at: float  # since the epoch


@dataclass(frozen=True, slots=True)
class Delays:
    """From an action's timestamp to its email's arrival. None where there was no email at all."""

    p50: float | None
    p99: float | None
    most: float | None

    @classmethod
    def of(cls, delays: Iterable[float]) -> Delays:
        """Percentiles by nearest rank: each is a delay that somebody really had."""
        ordered = sorted(delays)
        return cls(quantile(ordered, 0.5), quantile(ordered, 0.99), quantile(ordered, 1.0))


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """One group in one mode."""

    actions: int
    emails: int  # every one that arrived, repeats included
    missing: int  # actions without an email
    doubled: int  # actions with more than one
    delays: Delays


@dataclass(frozen=True, slots=True)
class Figures:
    """One mode.

    Attributes:
        groups: the figures of each group.
        uncalled: emails of no action that was sent.
        until_open: the affected organisation's delays, for actions until its breaker was seen open.
        once_open: the same for actions after that.
    """

    groups: Mapping[Group, GroupFigures]
    uncalled: int
    until_open: Delays
    once_open: Delays

    @property
    def actions(self) -> int:
        """Actions sent, over all groups."""
        return sum(each.actions for each in self.groups.values())

    @property
    def exactly_once(self) -> bool:
        """Whether every action has one email, and nobody else has any."""
        return not self.uncalled and all(not (one.missing or one.doubled) for one in self.groups.values())


def figures(sent: Iterable[Sent], arrivals: Iterable[Arrival], breaker: Timeline) -> Figures:
    """Put what was sent beside what arrived; the first arrival of an action's email makes its delay."""
    actions = {act.action_id: act for act in sent}
    times: dict[int, list[float]] = defaultdict(list)
    uncalled = 0
    for arrival in arrivals:
        if arrival.action_id in actions:
            times[arrival.action_id].append(arrival.at)
        else:
            uncalled += 1
    begin = min((act.at for act in actions.values()), default=0.0)
    opened = opened_at(breaker)
    until = math.inf if opened is None else begin + opened
    first = {action_id: min(seen) - actions[action_id].at for action_id, seen in times.items()}
    affected = [act for act in actions.values() if act.group is Group.AFFECTED and act.action_id in first]
    return Figures(
        {group: _of_group(group, actions.values(), times, first) for group in Group},
        uncalled,
        Delays.of(first[act.action_id] for act in affected if act.at < until),
        Delays.of(first[act.action_id] for act in affected if act.at >= until),
    )


def opened_at(breaker: Timeline) -> float | None:
    """When the breaker was first seen open, or half-open; None: it never was."""
    return next((at for at, state in breaker if state != "closed"), None)


def _of_group(
    group: Group, sent: Iterable[Sent], times: Mapping[int, Sequence[float]], first: Mapping[int, float]
) -> GroupFigures:
    ids = [act.action_id for act in sent if act.group is group]
    found = [len(times.get(action_id, ())) for action_id in ids]
    return GroupFigures(
        actions=len(ids),
        emails=sum(found),
        missing=found.count(0),
        doubled=sum(count > 1 for count in found),
        delays=Delays.of(first[action_id] for action_id in ids if action_id in first),
    )
