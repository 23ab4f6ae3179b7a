"""Decides lines as a worker would, by the worker's own code, and writes nothing.

The table is taken as empty, or as it was read before. A lookup is asked only where somebody wants that, in
the way in which the worker asks it; else a line whose letter depends on a lookup is left open.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from enum import StrEnum
from typing import Any, NamedTuple

from streams.actions.dead_letter import read_dead_letter_headers
from streams.actions.outcomes import DeadLettered, Emailed, Ignored
from streams.actions.processor import ActionProcessor
from streams.commands.action_content import Content, content_of
from streams.commands.line_check import LineRecord
from streams.commands.lines import LINE_LIMIT
from streams.delivery.results import AwaitingLookup, Result
from streams.lookup.breaker import State
from streams.lookup.client import Question
from streams.lookup.lookups import Lookups
from streams.messages.decode import ErrorClass, LookupOutcome, Outcome
from streams.settings.organisations import OrganisationsInForce
from streams.settings.organisations_file import Organisations
from streams.settings.table import Settings
from streams.statuses.row import Row, subscribed_at

#: Lines that are decided at the same time: a dry run shall be no load for a lookup service.
_AT_ONCE = 4
_UNBOUNDED = 1 << 30


class Verdict(StrEnum):
    """What becomes of a line."""

    EMAIL = "email"
    OPEN = "open"  # a lookup decides which letter, and was not asked
    IGNORED = "ignored"
    DEAD_LETTER = "dead_letter"


class Decision(NamedTuple):
    """What becomes of one line; None where it has no such thing."""

    line: int  # its number, from 1
    verdict: Verdict
    action_id: int | None
    org_id: int | None
    variant: str | None = None
    reason: str | None = None
    lookup_outcome: str | None = None  # None: no lookup was asked
    lookup_cause: str | None = None
    ignored: str | None = None
    error_class: str | None = None
    json_path: str | None = None

    @property
    def is_bad(self) -> bool:
        """Whether no email can be made, or a lookup failed."""
        return self.verdict is Verdict.DEAD_LETTER or self.lookup_outcome == Outcome.ERROR


class _NobodyAsked:
    """Stands in for :class:`Lookups`: an organisation that has a lookup waits for it, and nothing is sent."""

    def __init__(self, organisations: Organisations) -> None:
        self._organisations = organisations

    def is_fast(self, org_id: int) -> bool:  # noqa: ARG002 - as Lookups has it
        return True

    def ask(self, question: Question) -> asyncio.Future[LookupOutcome] | None:
        if self._organisations.of(question.org_id).lookup is None:
            return None
        return asyncio.get_running_loop().create_future()

    async def aclose(self) -> None:
        """There is nothing to close."""


class _Unobserved:
    """Nobody counts what a dry run asks."""

    def answered(self, org_id: int | None, outcome: LookupOutcome, seconds: float) -> None:
        pass

    def state_changed(self, org_id: int | None, state: State) -> None:
        pass


async def decide(
    lines: Iterable[bytes],
    settings: Settings,
    organisations: OrganisationsInForce,
    rows: Mapping[bytes, Row],
    asking: Callable[[Organisations], Lookups],
    *,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Decision]:
    """Give the decision for each line that is not blank, in their order.

    Args:
        lines: actions, without line ends.
        settings: in force.
        organisations: in force.
        rows: of the table, by key.
        asking: makes the lookups: `asked`, or `nobody_asked`.
        now: wall clock, seconds since the epoch.
    """
    async with aclosing(asking(organisations.organisations)) as lookups:
        processor = ActionProcessor(
            settings.actions_topic,
            0,
            emails_topic=settings.emails_topic,
            dead_letters_topic=settings.dead_letters_topic,
            subscribed=lambda _, key, moment: subscribed_at(rows.get(key), moment),
            lookups=lookups,
            now=now,
            lookups_most=_UNBOUNDED,
            lookups_most_per_organisation=_UNBOUNDED,
            repeats_at=settings.confirm_repeats_at,
            message_decides=organisations.message_decides,
        )
        waiting: deque[tuple[int, bytes, Result | AwaitingLookup]] = deque()
        for number, line in enumerate(lines, 1):
            if line.strip():
                waiting.append((number, line, _begun(processor, line)))
            if len(waiting) > _AT_ONCE:
                yield await _decision(*waiting.popleft(), settings, lookups)
        while waiting:
            yield await _decision(*waiting.popleft(), settings, lookups)


def asked(organisations: Organisations) -> Lookups:
    """Return lookups that are asked as by a worker: deadline, rate and circuit breaker hold."""
    return Lookups(organisations, _Unobserved())


def nobody_asked(organisations: Organisations) -> Lookups:
    """Return lookups that ask nobody: what they would be asked stays open."""
    stand_in: Any = _NobodyAsked(organisations)
    return stand_in  # type: ignore[no-any-return]  # of all of Lookups, a processor calls these


def _begun(processor: ActionProcessor, line: bytes) -> Result | AwaitingLookup:
    record = LineRecord(line)
    try:
        begun = processor.process(record)
    except Exception as error:  # a bug of ours: the worker makes a dead letter of it, too
        begun = processor.on_error(record, error)
    assert isinstance(begun, Result | AwaitingLookup), "there is always room, and nothing stops"
    return begun


async def _decision(
    number: int, line: bytes, begun: Result | AwaitingLookup, settings: Settings, lookups: Lookups
) -> Decision:
    content = content_of(line, settings.confirm_repeats_at)
    if isinstance(begun, AwaitingLookup):
        if isinstance(lookups, _NobodyAsked):
            return Decision(number, Verdict.OPEN, content.action_id, content.org_id)
        await asyncio.wait([begun.answer])
        begun = begun.conclude(begun.answer)
    if len(line) > LINE_LIMIT:  # it was cut off
        return _dead(number, content, ErrorClass.TOO_LARGE, "$")
    match begun.outcome:
        case Emailed(variant, reason, outcome, cause):
            return Decision(
                number,
                Verdict.EMAIL,
                content.action_id,
                content.org_id,
                variant,
                reason,
                outcome or None,
                cause or None,
            )
        case Ignored(why):
            return Decision(number, Verdict.IGNORED, content.action_id, content.org_id, ignored=why)
        case DeadLettered(error_class):
            assert begun.outgoing is not None
            origin = read_dead_letter_headers(begun.outgoing.headers)
            return _dead(number, content, ErrorClass(error_class), origin.json_path)
    raise AssertionError(f"a line is never {begun.outcome}")


def _dead(number: int, content: Content, error_class: ErrorClass, json_path: str) -> Decision:
    return Decision(
        number,
        Verdict.DEAD_LETTER,
        content.action_id,
        content.org_id,
        error_class=str(error_class),
        json_path=json_path,
    )
