"""One question to one organisation's lookup service, asked by a person (``streams lookup``).

With the settings and the organisations file in force, through the client that the worker uses; past its queue
and its circuit breaker, which belong to a running worker. Shown is what came of it, never who was asked for
nor a secret.
"""

import asyncio
import hashlib
import os
import time
from base64 import urlsafe_b64encode
from contextlib import aclosing
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from streams.commands.command_line import WrongUse
from streams.lookup.client import Endpoint, Question, Reply, ServiceHealth
from streams.lookup.lookups import open_client
from streams.messages.decode import Cause, Outcome
from streams.settings.organisations import OrganisationsInForce
from streams.settings.organisations_file import Organisation, OrganisationsError
from streams.settings.table import Settings

_LETTERS = {
    Outcome.EXISTING: "subscribed: one button",
    Outcome.NON_EXISTING: "not subscribed: two buttons",
    Outcome.ERROR: "no answer: two buttons",
}
_MEANINGS = {
    Cause.CONNECT: "no connection: the name is unknown, or nobody listens there, or nothing gets through",
    Cause.TLS: "TLS: the certificate, or the handshake, is refused",
    Cause.TIMEOUT: "no whole reply within the deadline",
    Cause.REDIRECT: "HTTP status 3xx: redirects are not followed, give the final URL",
    Cause.NO_DATA: "HTTP status 200 with nothing in the body",
    Cause.WRONG_DATA: "HTTP status 200 with a body that is no lookup reply",
    Cause.TOO_LARGE: "HTTP status 200 with a body beyond what a lookup reply may be",
    Cause.PROTOCOL: "what came back is not HTTP, or the connection ended in the middle of it",
    Cause.UNEXPECTED: "a fault of our own: the question could not be asked",
}


class AskedByHand(NamedTuple):
    """A question, and what it came to."""

    org_id: int
    plan: Organisation
    endpoint: Endpoint
    ref_is_made_up: bool
    reply: Reply
    seconds: float  # from the question to the last byte of the answer

    @property
    def failed(self) -> bool:
        """Whether the service gave no answer that a letter can be chosen by."""
        return self.reply.outcome.outcome is Outcome.ERROR


def ask_by_hand(settings: Settings, org_id: int, email: str, contact_ref: str | None) -> AskedByHand:
    """Ask once; a lookup that fails is a result, too.

    Args:
        settings: in force.
        org_id: the organisation.
        email: the address to ask about.
        contact_ref: the supporter's contactRef; None: a made-up one (see ``made_up_ref``).

    Raises:
        WrongUse: the organisations file is wrong, or the organisation has no lookup.
    """
    try:
        plan = OrganisationsInForce(settings, os.environ).organisations.of(org_id)
    except OrganisationsError as error:
        raise WrongUse(str(error)) from None
    if plan.lookup is None:
        raise WrongUse(f"organisation {org_id} has no lookup: who is not known there gets two buttons")
    question = Question(org_id, contact_ref or made_up_ref(email), email)
    reply, seconds = asyncio.run(_ask(plan, question))
    return AskedByHand(org_id, plan, plan.lookup, not contact_ref, reply, seconds)


def made_up_ref(email: str) -> str:
    """Make up a contactRef in the form of Proca's: the base64url of a SHA-256, without padding.

    It is nobody's: Proca hashes a secret seed with the address, or other personal data than the address.
    """
    return urlsafe_b64encode(hashlib.sha256(email.encode()).digest()).decode().rstrip("=")


async def _ask(plan: Organisation, question: Question) -> tuple[Reply, float]:
    async with aclosing(open_client(plan)) as client:
        started = time.perf_counter()
        reply = await client.ask(question)
        return reply, time.perf_counter() - started


def as_json(asked: AskedByHand) -> dict[str, Any]:
    """Return what was asked, and what it came to, as a JSON object (``schemas/commands/lookup.json``)."""
    outcome = asked.reply.outcome
    return {
        "org_id": asked.org_id,
        "name": asked.plan.name,
        "host": _host(asked.endpoint),
        "credentials": asked.endpoint.authorization is not None,
        "default": asked.plan.org_id is None,
        "made_up_contact_ref": asked.ref_is_made_up,
        "outcome": outcome.outcome,
        "custom_fields": outcome.custom_fields is not None,
        "cause": outcome.cause,
        "detail": _detail(asked.reply),
        "breaker": asked.reply.health,
        "retry_after_seconds": asked.reply.retry_after,
        "seconds": round(asked.seconds, 3),
        "deadline_seconds": asked.endpoint.deadline,
    }


def as_lines(asked: AskedByHand) -> list[str]:
    """Return the same as lines for a person."""
    lines = [_whom(asked)]
    if asked.ref_is_made_up:
        lines.append(
            "contactRef: made up, as the platform's cannot be computed from an address;"
            " --contact-ref gives the person's own"
        )
    lines += _what_came(asked.reply)
    lines.append(f"time: {asked.seconds * 1000:,.0f} ms, of {asked.endpoint.deadline * 1000:,.0f}")
    return lines


def _host(endpoint: Endpoint) -> str:
    """Where it is asked, without path and query: some services have an API key there."""
    url = urlsplit(endpoint.url)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"


def _whom(asked: AskedByHand) -> str:
    named = f" ({asked.plan.name})" if asked.plan.name else ""
    source = "" if asked.plan.org_id is not None else ", by the default for every organisation"
    credentials = "with" if asked.endpoint.authorization is not None else "without"
    return f"organisation {asked.org_id}{named}: {_host(asked.endpoint)}, {credentials} credentials{source}"


def _what_came(reply: Reply) -> list[str]:
    outcome, cause = reply.outcome.outcome, reply.outcome.cause
    lines = [f"outcome: {outcome} ({_LETTERS[outcome]})"]
    if reply.outcome.custom_fields is not None:
        lines.append("customFields: some, which travel on in the email (not shown)")
    if cause is not None:
        detail = _detail(reply)
        lines.append(f"cause: {cause}" + (f" ({detail})" if detail else ""))
        lines.append(f"for the circuit breaker: {_COUNTS[reply.health]}")
    if reply.retry_after is not None:
        lines.append(f"Retry-After: {reply.retry_after:,.0f} s")
    return lines


def _detail(reply: Reply) -> str | None:
    """What exactly went wrong, for a person; None: it answered, or there is nothing to add."""
    cause = reply.outcome.cause
    if cause is None:
        return None
    meaning = _status_class(reply) if cause is Cause.HTTP_STATUS else _MEANINGS.get(cause)
    return reply.outcome.detail or meaning


def _status_class(reply: Reply) -> str:
    if reply.health is ServiceHealth.FAILURE:
        return "HTTP status 401, 403, 408, 429, 5xx, or one that is no final answer"
    return "another HTTP status 4xx: the service is there, and did not like the question"


_COUNTS = {
    ServiceHealth.HEALTHY: "healthy",
    ServiceHealth.NEUTRAL: "neither healthy nor a failure",
    ServiceHealth.FAILURE: "a failure",
}
