"""From which exchanges to which topic: what one run of the bridge reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from examples.proca.settings import Settings
from examples.proca.statuses import Skipped, status_of
from streams.commands.keyed_lines import Message, action_message


@dataclass(frozen=True, slots=True)
class Route:
    """What is read and written.

    Attributes:
        queue: the bridge's own, declared and bound by it.
        too_large: the queue of messages that Kafka has no room for.
        bindings: exchange and routing key of each; the exchanges are Proca's, and exist.
        topic: of Kafka.
        record_of: the record of a message, by its exchange and body; or why it has none. Never raises.
    """

    queue: str
    too_large: str
    bindings: tuple[tuple[str, str], ...]
    topic: str
    record_of: Callable[[str, bytes], Message | Skipped]


def actions_route(settings: Settings) -> Route:
    """Each message at the stage `supporter_confirm` becomes an action, byte for byte."""
    return Route(
        f"{settings.queue_prefix}.actions",
        f"{settings.queue_prefix}.actions.too-large",
        tuple((f"org.{org_id}.confirm.supporter", "#") for org_id in settings.org_ids),
        settings.actions_topic,
        lambda _exchange, body: action_message(body),
    )


def statuses_route(settings: Settings) -> Route:
    """Each message that tells of somebody's consent becomes a supporter status."""
    bindings = [
        binding
        for org_id in settings.org_ids
        for binding in ((f"org.{org_id}.deliver", "#"), (f"org.{org_id}.event", "supporter.#"))
    ]
    return Route(
        f"{settings.queue_prefix}.statuses",
        f"{settings.queue_prefix}.statuses.too-large",
        tuple(bindings),
        settings.status_topic,
        partial(status_of, form_counts=settings.consent == "opt_in"),
    )
