"""Messages as Proca writes them, and a Proca that publishes them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import aio_pika
import orjson


def ref(number: int) -> str:
    """A contactRef: base64url without padding, of 32 bytes."""
    return base64.urlsafe_b64encode(hashlib.sha256(b"seed%d" % number).digest()).decode().rstrip("=")


def message(
    number: int, *, org_id: int = 310, stage: str = "supporter_confirm", **more: Any
) -> dict[str, Any]:
    """An action as ``proca:action:2``; `more` replaces top-level fields."""
    return {
        "schema": "proca:action:2",
        "stage": stage,
        "actionId": number,
        "actionPageId": 42,
        "actionPage": {
            "locale": "en",
            "name": "act/en",
            "thankYouTemplate": None,
            "thankYouTemplateRef": None,
            "supporterConfirmTemplate": "confirm",
        },
        "campaignId": 7,
        "campaign": {"name": "stop-x", "title": "Stop X", "externalId": None, "contactSchema": "basic"},
        "org": {"name": "rivers", "title": "Green Rivers"},
        "orgId": org_id,
        "action": {
            "actionType": "petition",
            "customFields": {},
            "createdAt": "2026-11-24T10:00:00Z",
            "testing": False,
        },
        "contact": {
            "firstName": "Ana",
            "email": f"ana{number}@example.org",
            "contactRef": ref(number),
            "dupeRank": 0,
            "area": "DE",
        },
        "personalInfo": None,
        "privacy": {
            "optIn": None,
            "givenAt": "2026-11-24T10:00:00Z",
            "emailStatus": None,
            "emailStatusChanged": None,
            "withConsent": True,
        },
        "tracking": None,
    } | more


def event(number: int, **privacy: Any) -> dict[str, Any]:
    """An event that tells the status of an email; it has neither `orgId` nor `stage`."""
    action = message(number)
    return {
        "schema": "proca:event:2",
        "eventType": "email_status",
        "timestamp": "2026-11-25T10:00:00Z",
        "supporter": {
            "contact": action["contact"],
            "privacy": action["privacy"] | privacy,
            "personalInfo": None,
        },
        **{name: action[name] for name in ("actionId", "action", "campaignId", "campaign", "actionPageId")},
    }


class Proca:
    """Declares an organisation's exchanges, and publishes to them, as Proca does."""

    def __init__(self, url: str) -> None:
        """Take the address of RabbitMQ; use it with ``async with``."""
        self._url = url

    async def __aenter__(self) -> Proca:
        self._connection = await aio_pika.connect(self._url)
        self.channel = await self._connection.channel()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def declare(self, org_id: int) -> None:
        """Declare the exchanges of an organisation, as Proca does for each."""
        for name in ("confirm.supporter", "deliver", "event"):
            await self.channel.declare_exchange(f"org.{org_id}.{name}", "topic", durable=True)

    async def publish(
        self, exchange: str, bodies: Sequence[bytes], key: str = "stop-x.petition", **headers: Any
    ) -> None:
        """Publish persistent messages; it returns when RabbitMQ has them."""
        to = await self.channel.get_exchange(exchange)
        for body in bodies:
            sent = aio_pika.Message(body, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await to.publish(sent, key)

    async def waiting(self, queue: str) -> int:
        """Messages in a queue that are not in anybody's hands."""
        declared = await self.channel.declare_queue(queue, passive=True)
        assert declared.declaration_result.message_count is not None
        return declared.declaration_result.message_count


def dumped(document: dict[str, Any]) -> bytes:
    """A document as Proca writes it."""
    return orjson.dumps(document)
