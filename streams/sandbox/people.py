"""The made-up people of demo, drill, bench and tests: who they are, what they sign, what their status is.

Every address is at a domain that is reserved for examples (RFC 2606, section 3).
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any, NamedTuple

import orjson

ORG_ID = 310
AS_OF = "2026-11-24T10:00:00Z"


class Supporter(NamedTuple):
    """Somebody in relation to one organisation."""

    org_id: int
    email: str
    contact_ref: str
    first_name: str = "Ana"

    @property
    def key(self) -> bytes:
        """The key of their actions and of their status."""
        return f"{self.org_id}:{self.contact_ref}".encode()

    def action(self, action_id: int, **more: Any) -> dict[str, Any]:
        """Return a small action that asks for a confirmation; `more` adds fields, or replaces them."""
        return {
            "schema": "proca:action:2",
            "stage": "supporter_confirm",
            "actionId": action_id,
            "orgId": self.org_id,
            "contact": {
                "firstName": self.first_name,
                "email": self.email,
                "contactRef": self.contact_ref,
            },
            **more,
        }

    def status(self, *, subscribed: bool, as_of: str = AS_OF) -> bytes:
        """Return the value of their row in the status topic."""
        row = {
            "orgId": self.org_id,
            "contactRef": self.contact_ref,
            "subscribed": subscribed,
            "asOf": as_of,
        }
        return orjson.dumps(row)


def somebody(email: str, org_id: int = ORG_ID, first_name: str = "Ana") -> Supporter:
    """Return a made-up supporter; contactRef is made up, too, and the same at every organisation."""
    digest = hashlib.sha256(email.encode()).digest()
    return Supporter(org_id, email, urlsafe_b64encode(digest).decode().rstrip("="), first_name)


def numbered(number: int, org_id: int = ORG_ID) -> Supporter:
    """Return a supporter whose number can be read in their address and in their contactRef."""
    return Supporter(org_id, f"s{number}@example.org", f"ref{number:08d}")


def number_of(contact_ref: str) -> int:
    """Return the number of the supporter with this contactRef (see `numbered`)."""
    return int(contact_ref.removeprefix("ref"))


class Organisation(NamedTuple):
    """Who runs a campaign. One without a lookup has nobody to ask."""

    org_id: int
    name: str
    title: str
    has_lookup: bool = True


class Campaign(NamedTuple):
    """What is signed."""

    campaign_id: int
    name: str
    title: str


class Language(NamedTuple):
    """Who speaks it, and where."""

    locale: str
    area: str
    first_names: tuple[str, ...]


ORGANISATIONS = (
    Organisation(310, "green-rivers", "Green Rivers"),
    Organisation(311, "open-cities", "Open Cities"),
    Organisation(312, "fair-data", "Fair Data"),
    Organisation(313, "night-trains", "Night Trains Now"),
    Organisation(314, "small-farms", "Small Farms", has_lookup=False),
)
CAMPAIGNS = (
    Campaign(7, "free-the-river", "Free the river"),
    Campaign(8, "sleepers-back", "Bring back the sleepers"),
    Campaign(9, "my-data", "My data is mine"),
)
LANGUAGES = (
    Language("de", "DE", ("Jürgen", "Käthe", "Björn")),
    Language("en_GB", "GB", ("Siobhán", "Tom", "Zoë")),
    Language("fr", "FR", ("Anaïs", "François", "Noé")),
    Language("pl", "PL", ("Łukasz", "Święta", "Ania")),
    Language("el", "GR", ("Ελένη", "Γιώργος")),
    Language("bg", "BG", ("Иван", "Цветана")),
    Language("uk", "UA", ("Оксана", "Тарас")),
    Language("ar", "MA", ("فاطمة", "يوسف")),
    Language("he", "IL", ("נועה", "דוד")),
    Language("ka", "GE", ("ნინო", "გიორგი")),
    Language("ja", "JP", ("さくら", "健太")),
    Language("hi", "IN", ("प्रिया", "अर्जुन")),
)
_BY_ID = {organisation.org_id: organisation for organisation in ORGANISATIONS}
_DOMAINS = ("example.org", "example.net", "example.com")
KNOWN = 400
"""People whose status the organisation's CRM has told beforehand; every second one is a subscriber."""
SHARE_OF_KNOWN = 0.2


class Crowd:
    """People of several organisations, languages and scripts; the same `random` makes the same people."""

    def __init__(self, random: Random, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Think up those whose status is known; `now` is the moment of what they do."""
        self._random = random
        self._now = now
        self._met = 0
        self._known = [self._somebody() for _ in range(KNOWN)]

    def statuses(self) -> list[bytes]:
        """What the CRMs have told: a line of the status topic for each known supporter."""
        as_of = _written(self._now())
        return [
            supporter.status(subscribed=number % 2 == 0, as_of=as_of)
            for number, (supporter, _) in enumerate(self._known)
        ]

    def actions(self) -> Iterator[bytes]:
        """Signatures without an end: a known subscriber's, then some of known supporters, most of others."""
        supporter, language = self._known[0]  # however short a run is, it shows a known subscriber
        for action_id in count(7001):
            campaign = self._random.choice(CAMPAIGNS)
            yield orjson.dumps(
                signature(supporter, action_id, _BY_ID[supporter.org_id], campaign, language, self._now())
            )
            known = self._random.random() < SHARE_OF_KNOWN
            supporter, language = self._random.choice(self._known) if known else self._somebody()

    def _somebody(self) -> tuple[Supporter, Language]:
        self._met += 1
        language = self._random.choice(LANGUAGES)
        org_id = self._random.choice(ORGANISATIONS).org_id
        first_name = self._random.choice(language.first_names)
        domain = self._random.choice(_DOMAINS)
        email = f"supporter.{self._met}.{self._random.randrange(16**6):06x}@{domain}"
        return somebody(email, org_id, first_name), language


def signature(
    supporter: Supporter,
    action_id: int,
    organisation: Organisation,
    campaign: Campaign,
    language: Language,
    moment: datetime,
) -> dict[str, Any]:
    """Return an action with all the fields that Proca sends."""
    at = _written(moment)
    small = supporter.action(action_id)
    return small | {
        "actionPageId": campaign.campaign_id * 100 + LANGUAGES.index(language),
        "campaignId": campaign.campaign_id,
        "org": {"name": organisation.name, "title": organisation.title},
        "campaign": {
            "name": campaign.name,
            "title": campaign.title,
            "externalId": None,
            "contactSchema": "basic",
        },
        "actionPage": {
            "locale": language.locale,
            "name": f"{campaign.name}/{language.locale}",
            "thankYouTemplate": "thank-you",
            "thankYouTemplateRef": None,
            "supporterConfirmTemplate": "confirm",
        },
        "action": {"actionType": "petition", "customFields": {}, "createdAt": at, "testing": False},
        "contact": small["contact"] | {"dupeRank": 0, "area": language.area},
        "personalInfo": None,
        "privacy": {
            "optIn": None,
            "givenAt": at,
            "emailStatus": None,
            "emailStatusChanged": None,
            "withConsent": True,
        },
        "tracking": None,
    }


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
