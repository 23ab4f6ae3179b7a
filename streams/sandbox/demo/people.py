"""Who signs in the demo: made-up people of several organisations, in several languages and scripts.

Every address is at a domain that is reserved for examples (RFC 2606, section 3).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

import orjson


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


class Supporter(NamedTuple):
    """Somebody in relation to one organisation."""

    organisation: Organisation
    language: Language
    first_name: str
    email: str

    @property
    def contact_ref(self) -> str:
        """The same hash of the address at every organisation, as Proca makes it."""
        return urlsafe_b64encode(hashlib.sha256(self.email.encode()).digest()).decode().rstrip("=")


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
_DOMAINS = ("example.org", "example.net", "example.com")
KNOWN = 400
"""People whose status the organisation's CRM has told beforehand; every second one is a subscriber."""
SHARE_OF_KNOWN = 0.2


class Crowd:
    """The supporters of one demo; the same dice make the same people."""

    def __init__(self, dice: Random, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Think up those whose status is known."""
        self._dice = dice
        self._now = now
        self._met = 0
        self.known = [self._somebody() for _ in range(KNOWN)]

    def statuses(self) -> list[bytes]:
        """What the CRMs have told: a line of the status topic for each known supporter."""
        as_of = _written(self._now())
        return [
            orjson.dumps(
                {
                    "orgId": supporter.organisation.org_id,
                    "contactRef": supporter.contact_ref,
                    "subscribed": number % 2 == 0,
                    "asOf": as_of,
                }
            )
            for number, supporter in enumerate(self.known)
        ]

    def actions(self) -> Iterator[bytes]:
        """Signatures without an end: some of known supporters, most of people nobody has heard of."""
        action_id = 7000
        while True:
            action_id += 1
            known = self._dice.random() < SHARE_OF_KNOWN
            supporter = self._dice.choice(self.known) if known else self._somebody()
            yield orjson.dumps(self._action(action_id, supporter))

    def _somebody(self) -> Supporter:
        self._met += 1
        language = self._dice.choice(LANGUAGES)
        return Supporter(
            self._dice.choice(ORGANISATIONS),
            language,
            self._dice.choice(language.first_names),
            f"supporter.{self._met}.{self._dice.randrange(16**6):06x}@{self._dice.choice(_DOMAINS)}",
        )

    def _action(self, action_id: int, supporter: Supporter) -> dict[str, Any]:
        organisation, language = supporter.organisation, supporter.language
        campaign = self._dice.choice(CAMPAIGNS)
        moment = _written(self._now())
        return {
            "schema": "proca:action:2",
            "stage": "supporter_confirm",
            "actionId": action_id,
            "actionPageId": campaign.campaign_id * 100 + LANGUAGES.index(language),
            "campaignId": campaign.campaign_id,
            "orgId": organisation.org_id,
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
            "action": {"actionType": "petition", "customFields": {}, "createdAt": moment, "testing": False},
            "contact": {
                "firstName": supporter.first_name,
                "email": supporter.email,
                "contactRef": supporter.contact_ref,
                "dupeRank": 0,
                "area": language.area,
            },
            "personalInfo": None,
            "privacy": {
                "optIn": None,
                "givenAt": moment,
                "emailStatus": None,
                "emailStatusChanged": None,
                "withConsent": True,
            },
            "tracking": None,
        }


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
