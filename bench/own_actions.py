"""The user's own actions as a backlog: their bytes as they are, and a status for each supporter in them.

Nothing of what they hold is shown or kept: an error has the number of a line, and the logs of the processes
that get them, which may quote them, are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson

from bench.workload import ONE_BUTTON, TWO_BUTTON
from streams.commands.lines import Inflated, read_blocks
from streams.messages.decode import Undecodable, decode_action, status_key
from streams.messages.strict_json import parse
from streams.sandbox.people import AS_OF

_LARGEST = 900_000  # bytes; an email must fit into Kafka's usual 1 MB with its envelope and headers


class OwnActionsError(ValueError):
    """The file cannot be used; the message quotes nothing of it."""


class OwnAction(NamedTuple):
    """One usable line."""

    key: bytes
    org_id: int
    contact_ref: str
    action_id: int
    value: bytes


@dataclass(frozen=True)
class OwnActions:
    """A backlog of the lines' actions, in their order, again and again until it is as long as it must be.

    An action is known by its key and its id; lines that have both in common count as one, several times.

    Attributes:
        actions: how many there are in all.
        lines: the usable ones.
        left_out: how many other lines the file has.
    """

    actions: int
    lines: tuple[OwnAction, ...] = field(repr=False)
    left_out: int = 0
    missing_every = 0  # every status is known

    @cached_property
    def _alike(self) -> dict[tuple[bytes, int], list[int]]:
        """The lines of each key and id."""
        alike: dict[tuple[bytes, int], list[int]] = {}
        for number, line in enumerate(self.lines):
            alike.setdefault((line.key, line.action_id), []).append(number)
        return alike

    @cached_property
    def _subscribed(self) -> dict[bytes, bool]:
        """By key: every second supporter is."""
        keys = dict.fromkeys(line.key for line in self.lines)
        return {key: number % 2 == 0 for number, key in enumerate(keys)}

    def is_missing(self, _: int) -> bool:
        """Nobody is without a status."""
        return False

    def variant(self, number: int) -> str:
        """The letter that line `number` must get."""
        return ONE_BUTTON if self._subscribed[self.lines[number].key] else TWO_BUTTON

    def number(self, action_id: int, key: bytes | None) -> int | None:
        """The first line with this id and key; None: there is none."""
        alike = self._alike.get((key or b"", action_id))
        return alike[0] if alike else None

    def times(self) -> Sequence[int]:
        """How many emails the first line of each key and id must get; the others none."""
        whole, rest = divmod(self.actions, len(self.lines))
        due = [0] * len(self.lines)
        for first, *others in self._alike.values():
            due[first] = sum(whole + (number < rest) for number in (first, *others))
        return due

    def originals(self, number: int) -> Sequence[bytes]:
        """The values that have this line's id and key."""
        line = self.lines[number]
        return [self.lines[each].value for each in self._alike[line.key, line.action_id]]

    def may_show(self, log: str) -> str:
        """What of a process's log may be shown: what comes before it."""
        first, _, rest = log.partition("\n")
        return f"{first} (Left out, since it may quote your actions.)" if rest else first

    def key(self, number: int) -> bytes:
        """The record's key, ``orgId:contactRef``."""
        return self.lines[number].key

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every action, in order."""
        for number in range(self.actions):
            line = self.lines[number % len(self.lines)]
            yield line.key, line.value

    def statuses(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every status row."""
        people = {line.key: line for line in self.lines}
        for key, subscribed in self._subscribed.items():
            row = {
                "orgId": people[key].org_id,
                "contactRef": people[key].contact_ref,
                "subscribed": subscribed,
                "asOf": AS_OF,
            }
            yield key, orjson.dumps(row)


class _Contact(msgspec.Struct):
    email: str
    contactRef: str = ""
    ref: str = ""


class _Plain(msgspec.Struct):
    """What every contender decodes."""

    stage: str
    actionId: int
    orgId: int
    contact: _Contact


_plain = msgspec.json.Decoder(_Plain).decode


def read(path: Path, actions: int) -> OwnActions:
    """Read a file with a JSON value on each line (it may be a gzip file), and make `actions` of them.

    Of a longer file the first `actions` usable lines are taken. Usable are actions that ask for a
    confirmation and from which every contender can make an email.

    Raises:
        OwnActionsError: a line is no JSON, or none can be used.
        OSError: it cannot be read.
    """
    lines: list[OwnAction] = []
    left_out = count = 0
    for count, value in enumerate(_lines(path), 1):
        try:
            parse(value)
        except Undecodable as error:
            problem = f"line {count} is not JSON ({error})" if value.strip() else f"line {count} is empty"
            raise OwnActionsError(problem) from None
        usable = _usable(value)
        if usable is None:
            left_out += 1
        elif len(lines) < actions:
            lines.append(usable)
    if not lines:
        raise OwnActionsError(f"of its {count} lines none is an action that asks for a confirmation")
    return OwnActions(actions, tuple(lines), left_out)


def _usable(value: bytes) -> OwnAction | None:
    try:
        action = decode_action(value)
        _plain(value)
        orjson.loads(value)
    except (Undecodable, ValueError):
        return None
    if action is None or len(value) > _LARGEST or not value.startswith(b"{"):
        return None
    key = status_key(action.org_id, action.contact_ref)
    return OwnAction(key, action.org_id, action.contact_ref, action.action_id, value)


def _lines(path: Path) -> Iterator[bytes]:
    async def gathered() -> list[bytes]:
        with path.open("rb", buffering=0) as file:
            return [line async for block in read_blocks(Inflated(file)) for line in block]

    yield from asyncio.run(gathered())
