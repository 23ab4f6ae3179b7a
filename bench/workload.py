"""The actions and statuses that every contender is given, and the letter that each action must get. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

AS_OF = "2026-11-24T10:00:00Z"
ONE_BUTTON, TWO_BUTTON = "one_button", "two_button"

_BEFORE_COMMENT = (
    b'{"schema":"proca:action:2","stage":"supporter_confirm","actionId":%d,"actionPageId":42,"campaignId":7,'
    b'"orgId":%d,"org":{"name":"example","title":"Example"},"campaign":{"name":"stop-x","title":"Stop X",'
    b'"externalId":99,"contactSchema":"basic"},"actionPage":{"locale":"de","name":"act-de","thankYouTemplate":'
    b'"ty","thankYouTemplateRef":null,"supporterConfirmTemplate":"confirm"},"action":{"actionType":"petition",'
    b'"customFields":{"comment":"'
)
_AFTER_COMMENT = (
    b'"},"createdAt":"2026-11-24T10:00:00Z","testing":false},"contact":{"firstName":"Ana","lastName":"B",'
    b'"email":"s%d@example.org","contactRef":"%b","dupeRank":0,"area":"DE","postcode":"10115","country":"DE"},'
    b'"personalInfo":null,"privacy":{"optIn":null,"givenAt":"2026-11-24T10:00:00Z","emailStatus":null,'
    b'"emailStatusChanged":null,"withConsent":true},"tracking":{"source":"s","medium":"m","campaign":"c",'
    b'"content":"","location":"https://example.org"}}'
)
# For sizes below the usual: only what decides, and the comment.
_SMALL_BEFORE = (
    b'{"schema":"proca:action:2","stage":"supporter_confirm","actionId":%d,"orgId":%d,"action":{"customFields":'
    b'{"comment":"'
)
_SMALL_AFTER = b'"}},"contact":{"firstName":"Ana","email":"s%d@example.org","contactRef":"%b"}}'
_SMALL = 1_024  # bytes
_WORDS = b"Please keep the old trees along the river, our children play there every summer day. "
# Base64url as a real reference is: it does not compress well.
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_USUAL_PAIR, _SMALL_PAIR = (_BEFORE_COMMENT, _AFTER_COMMENT), (_SMALL_BEFORE, _SMALL_AFTER)


@lru_cache(maxsize=100_000)
def contact_ref(person: int) -> bytes:
    """A reference as long as a real one: 43 letters of base64url, different for each person."""
    number = (person * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    letters = bytes(_LETTERS[(number >> shift) & 63] for shift in range(0, 60, 6))
    return b"ref%012d%b%b" % (person, letters, (letters * 2)[:18])


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

    def key(self, number: int) -> bytes:
        """The record's key, ``orgId:contactRef``."""
        return b"%d:%b" % (self.org(number), contact_ref(self.person(number)))

    def value(self, number: int) -> bytes:
        """The action as JSON."""
        person = self.person(number)
        before, after = _SMALL_PAIR if self.size < _SMALL else _USUAL_PAIR
        head = before % (number, self.org(number))
        tail = after % (person, contact_ref(person))
        return b"%b%b%b" % (head, self._comment(self.size - len(head) - len(tail)), tail)

    def _missing(self, number: int) -> tuple[int, str]:
        return self.missing[number // self.missing_every % len(self.missing)]

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every action, in order."""
        for number in range(self.actions):
            yield self.key(number), self.value(number)

    def statuses(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every status row."""
        for person in range(self.people):
            ref = contact_ref(person)
            subscribed = b"true" if person % 2 == 0 else b"false"
            yield (
                b"%d:%b" % (self.org_id, ref),
                b'{"orgId":%d,"contactRef":"%b","subscribed":%b,"asOf":"%b"}'
                % (self.org_id, ref, subscribed, AS_OF.encode()),
            )

    @staticmethod
    def _comment(length: int) -> bytes:
        """Words, so that compression finds about what it finds in people's comments."""
        return (_WORDS * (max(length, 0) // len(_WORDS) + 1))[: max(length, 0)]
