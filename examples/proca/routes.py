"""From which exchanges to which topic: what one run of the bridge reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from examples.proca.settings import Settings
from examples.proca.statuses import Skipped, status_of
from streams.commands.keyed_lines import Message, action_message
from streams.messages.decode import decode_action
from streams.messages.strict_json import Undecodable

_DELIVER = "deliver"


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
    """Each message at the stage `supporter_confirm` becomes an action, byte for byte.

    If it is set so, those of repeat signers at the stage `deliver` do, too.
    """
    repeats = settings.confirm_repeats_at == _DELIVER
    exchanges = ["confirm.supporter", _DELIVER] if repeats else ["confirm.supporter"]
    return Route(
        f"{settings.queue_prefix}.actions",
        f"{settings.queue_prefix}.actions.too-large",
        tuple((f"org.{org_id}.{name}", "#") for org_id in settings.org_ids for name in exchanges),
        settings.actions_topic,
        _action_of,
    )


def _action_of(exchange: str, body: bytes) -> Message | Skipped:
    """The action; of those that are delivered only a repeat signer's, and only for its page's organisation.

    Proca delivers an action also to the organisations that it is shared with: each of them would ask again.
    What cannot be read goes on, and the worker makes a dead letter of it.
    """
    if exchange.endswith(f".{_DELIVER}"):
        try:
            action = decode_action(body, _DELIVER)
        except Undecodable:
            return action_message(body)
        if action is None:
            return Skipped("no_repeat")
        if exchange != f"org.{action.org_id}.{_DELIVER}":
            return Skipped("other_organisation")
    return action_message(body)


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
