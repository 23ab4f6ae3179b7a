"""What a run came to, in numbers. Pure; every time is in seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.observability.quantile import quantile
from streams.sandbox.account import Account, Tally
from streams.sandbox.drill.crowd import Group

Timeline = Sequence[tuple[float, str]]
"""The states of a breaker, each with the seconds since the first action at which it was first seen."""


@dataclass(frozen=True, slots=True)
class Delays:
    """From an action's timestamp to an arrival: of its email, or of itself. None where nothing arrived."""

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
class SameSeconds:
    """The delays of two groups while the machine did the same.

    Attributes:
        affected: of the affected organisation.
        known: of known supporters, whose emails ask no lookup. Until the breaker opens, an email of the
            others may come up to a deadline later; therefore these go on for a deadline after it opened.
    """

    affected: Delays
    known: Delays


@dataclass(frozen=True, slots=True)
class Figures:
    """One mode.

    Attributes:
        groups: the figures of each group.
        uncalled: emails of no action that was sent.
        own: the delays of the actions themselves to the reader of the emails, without the worker.
        until_open: the delays of actions until the affected organisation's breaker was seen open.
        once_open: those of actions after that.
    """

    groups: Mapping[Group, GroupFigures]
    uncalled: int
    own: Delays
    until_open: SameSeconds
    once_open: SameSeconds

    @property
    def actions(self) -> int:
        """Actions sent, over all groups."""
        return sum(each.actions for each in self.groups.values())

    @property
    def exactly_once(self) -> bool:
        """Whether every action has one email, and nobody else has any."""
        return not self.uncalled and all(not (one.missing or one.doubled) for one in self.groups.values())


def figures(account: Account[Group], breaker: Timeline, deadline: float) -> Figures:
    """Put the account of a run into figures; the first email of an action makes its delay.

    Args:
        account: what was sent, and what arrived.
        breaker: that of the affected organisation.
        deadline: of its lookups, in seconds.
    """
    opened = opened_at(breaker)
    begin = min((delay.sent_at for tally in account.parts.values() for delay in tally.delays), default=0.0)
    until = math.inf if opened is None else begin + opened

    def sent(group: Group, since: float, until: float) -> Delays:
        delays = account.parts[group].delays
        return Delays.of(delay.seconds for delay in delays if since <= delay.sent_at < until)

    return Figures(
        {group: _of_group(account.parts[group]) for group in Group},
        account.uncalled,
        Delays.of(delay for tally in account.parts.values() for delay in tally.own_delays),
        SameSeconds(sent(Group.AFFECTED, begin, until), sent(Group.KNOWN, begin, until + deadline)),
        SameSeconds(sent(Group.AFFECTED, until, math.inf), sent(Group.KNOWN, until, math.inf)),
    )


def opened_at(breaker: Timeline) -> float | None:
    """When the breaker was first seen open, or half-open; None: it never was."""
    return next((at for at, state in breaker if state != "closed"), None)


def _of_group(tally: Tally) -> GroupFigures:
    return GroupFigures(
        actions=tally.actions,
        emails=tally.emails_out,
        missing=tally.missing,
        doubled=tally.doubled,
        delays=Delays.of(delay.seconds for delay in tally.delays),
    )
