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
from urllib.parse import urlsplit

import click

from streams.commands.command_line import FAILED, WrongUse
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


def ask_by_hand(settings: Settings, org_id: int, email: str, contact_ref: str | None) -> int:
    """Ask, and print what came of it.

    Args:
        settings: in force.
        org_id: the organisation.
        email: the address to ask about.
        contact_ref: the supporter's contactRef; None: a made-up one (see ``made_up_ref``).

    Returns:
        The exit code: 0 answered, 1 failed.

    Raises:
        WrongUse: the organisations file is wrong, or the organisation has no lookup.
    """
    try:
        plan = OrganisationsInForce(settings, os.environ).organisations.of(org_id)
    except OrganisationsError as error:
        raise WrongUse(str(error)) from None
    if plan.lookup is None:
        raise WrongUse(f"organisation {org_id} has no lookup: who is not known there gets two buttons")
    click.echo(_whom(org_id, plan, plan.lookup))
    if not contact_ref:
        contact_ref = made_up_ref(email)
        click.echo(
            "contactRef: made up, as the platform's cannot be computed from an address;"
            " --contact-ref gives the person's own"
        )
    reply, seconds = asyncio.run(_ask(plan, Question(org_id, contact_ref, email)))
    for line in _what_came(reply):
        click.echo(line)
    click.echo(f"time: {seconds * 1000:,.0f} ms, of {plan.lookup.deadline * 1000:,.0f}")
    return FAILED if reply.outcome.outcome is Outcome.ERROR else 0


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


def _whom(org_id: int, plan: Organisation, endpoint: Endpoint) -> str:
    """Where it is asked, without path and query: some services have an API key there."""
    named = f" ({plan.name})" if plan.name else ""
    source = "" if plan.org_id is not None else ", by the default for every organisation"
    url = urlsplit(endpoint.url)
    credentials = "with" if endpoint.authorization is not None else "without"
    where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    return f"organisation {org_id}{named}: {where}, {credentials} credentials{source}"


def _what_came(reply: Reply) -> list[str]:
    outcome, cause = reply.outcome.outcome, reply.outcome.cause
    lines = [f"outcome: {outcome} ({_LETTERS[outcome]})"]
    if reply.outcome.custom_fields is not None:
        lines.append("customFields: some, which travel on in the email (not shown)")
    if cause is not None:
        meaning = _status_class(reply) if cause is Cause.HTTP_STATUS else _MEANINGS.get(cause)
        meaning = reply.outcome.detail or meaning
        lines.append(f"cause: {cause}" + (f" ({meaning})" if meaning else ""))
        lines.append(f"for the circuit breaker: {_COUNTS[reply.health]}")
    if reply.retry_after is not None:
        lines.append(f"Retry-After: {reply.retry_after:,.0f} s")
    return lines


def _status_class(reply: Reply) -> str:
    if reply.health is ServiceHealth.FAILURE:
        return "HTTP status 401, 403, 408, 429, 5xx, or one that is no final answer"
    return "another HTTP status 4xx: the service is there, and did not like the question"


_COUNTS = {
    ServiceHealth.HEALTHY: "healthy",
    ServiceHealth.NEUTRAL: "neither healthy nor a failure",
    ServiceHealth.FAILURE: "a failure",
}
