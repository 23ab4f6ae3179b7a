"""The actions and statuses that every contender is given, and the letter that each action must get. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from streams.sandbox.people import AS_OF, CAMPAIGNS, LANGUAGES, ORGANISATIONS, Supporter, signature, somebody

ONE_BUTTON, TWO_BUTTON = "one_button", "two_button"

_SMALL = 1_024  # bytes; smaller actions have only what decides, and the comment
_WORDS = b"Please keep the old trees along the river, our children play there every summer day. "
#: What is filled in, in the order in which it stands in an action, and its place in a template.
_BLANKS = {b"1234567891": b"%d", b"1234567892": b"%d", b"<email>": b"%b", b"<ref>": b"%b"}


def _template(action: dict[str, Any]) -> tuple[bytes, bytes]:
    """What stands before and behind an action's comment. Filling it in costs a tenth of making JSON."""
    action["action"] = {**action.get("action", {}), "customFields": {"comment": "<comment>"}}
    before, after = orjson.dumps(action).split(b"<comment>")
    for blank, place in _BLANKS.items():
        before = before.replace(blank, place)
    return before, after


_SOMEBODY = Supporter(1234567892, "<email>", "<ref>")
_SMALL_TEMPLATE = _template(_SOMEBODY.action(1234567891))
_USUAL_TEMPLATE = _template(
    signature(
        _SOMEBODY, 1234567891, ORGANISATIONS[0], CAMPAIGNS[0], LANGUAGES[0], datetime.fromisoformat(AS_OF)
    )
)


@lru_cache(maxsize=100_000)
def _supporter(person: int, org_id: int) -> Supporter:
    return somebody(f"s{person}@example.org", org_id)


@dataclass(frozen=True, slots=True)
class Workload:
    """Which actions there are.

    Attributes:
        actions: how many.
        people: with a known status; every second one is subscribed.
        missing_every: each so-manieth action is by somebody without a status, different each time; 1: all
            of them, 0: none.
        missing: organisation and letter of those, in turn.
        size: bytes of an action, at least about 300.
        org_id: the organisation of all others.
    """

    actions: int
    people: int = 5_000
    missing_every: int = 0
    missing: tuple[tuple[int, str], ...] = ((310, TWO_BUTTON),)
    size: int = 1_100
    org_id: int = 310

    def is_missing(self, number: int) -> bool:
        """Whether action `number` is by somebody without a status."""
        return bool(self.missing_every) and number % self.missing_every == self.missing_every - 1

    def person(self, number: int) -> int:
        """Whose action this is; people from `people` on have no status."""
        return self.people + number if self.is_missing(number) else number % self.people

    def org(self, number: int) -> int:
        """The organisation that the action is for."""
        return self._missing(number)[0] if self.is_missing(number) else self.org_id

    def variant(self, number: int) -> str:
        """The letter that action `number` must get."""
        if self.is_missing(number):
            return self._missing(number)[1]
        return ONE_BUTTON if self.person(number) % 2 == 0 else TWO_BUTTON

    def number(self, action_id: int, key: bytes | None) -> int | None:  # noqa: ARG002 - own actions need it
        """Which action has this id; None: there is no such action. The key is no part of it here."""
        return action_id if 0 <= action_id < self.actions else None

    def times(self) -> Sequence[int]:
        """How many emails each number must get."""
        return b"\1" * self.actions

    def originals(self, number: int) -> Sequence[bytes]:
        """The values that action `number` may have had."""
        return [self.value(number)]

    def may_show(self, log: str) -> str:
        """What of a process's log may be shown: everything, since these people are made up."""
        return log

    def key(self, number: int) -> bytes:
        """The record's key, ``orgId:contactRef``."""
        return self._supporter(number).key

    def value(self, number: int) -> bytes:
        """The action as JSON."""
        supporter = self._supporter(number)
        before, after = _SMALL_TEMPLATE if self.size < _SMALL else _USUAL_TEMPLATE
        email, ref = supporter.email.encode(), supporter.contact_ref.encode()
        head = before % (number, supporter.org_id, email, ref)
        return b"%b%b%b" % (head, self._comment(self.size - len(head) - len(after)), after)

    def _supporter(self, number: int) -> Supporter:
        return _supporter(self.person(number), self.org(number))

    def _missing(self, number: int) -> tuple[int, str]:
        return self.missing[number // self.missing_every % len(self.missing)]

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every action, in order."""
        for number in range(self.actions):
            yield self.key(number), self.value(number)

    def statuses(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every status row."""
        for person in range(self.people):
            supporter = somebody(f"s{person}@example.org", self.org_id)
            yield supporter.key, supporter.status(subscribed=person % 2 == 0)

    @staticmethod
    def _comment(length: int) -> bytes:
        """Words, so that compression finds about what it finds in people's comments."""
        return (_WORDS * (max(length, 0) // len(_WORDS) + 1))[: max(length, 0)]
