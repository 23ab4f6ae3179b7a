"""What can be set, by environment; anything that is not known is refused before the first message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

from examples.settings import KafkaSettings, setting

_ORGANISATIONS = re.compile(r"[1-9][0-9]{0,17}(?:,[1-9][0-9]{0,17})*", re.ASCII)
#: How Proca's own queues begin; `amq.` is RabbitMQ's.
_FOREIGN = ("wrk.", "cus.", "org.", "system.", "amq.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(KafkaSettings):
    """Each is read from ``BRIDGE_`` and its name in capitals; those without a default must be given."""

    PREFIX: ClassVar[str] = "BRIDGE_"

    amqp_url: str = setting(
        "Proca's RabbitMQ, with user, password and virtual host: `amqps://user:password@host/vhost`",
        secret=True,
    )
    organisations: str = setting("Proca's ids of the organisations, with commas")
    actions_topic: str = setting("Written by `actions`", "actions")
    status_topic: str = setting("Written by `statuses`", "supporter-status")
    queue_prefix: str = setting(
        "What the bridge's own queues begin with: `.actions`, `.statuses` and `.too-large` follow",
        "confirmation-streams",
    )
    consent: str = setting(
        "What makes a subscriber: the double opt-in alone, or also the opt-in of the form",
        "double_opt_in",
        choices=("double_opt_in", "opt_in"),
    )
    confirm_repeats_at: str = setting(
        "`deliver`: `actions` also brings repeat signers at that stage, for workers with"
        " `STREAMS_CONFIRM_REPEATS_AT=deliver`",
        "never",
        choices=("never", "deliver"),
    )
    web_host: str = setting("Where `/metrics`, `/livez` and `/readyz` are served", "127.0.0.1")
    web_port: int = setting("Their port; 0: they are not served", 0, least=0, most=65535)
    retry_first: float = setting(
        "Seconds before the second attempt to connect; then twice as long, and so on",
        1.0,
        least=0.01,
        most=3_600,
    )
    retry_longest: float = setting("Seconds between two attempts at most", 30.0, least=0.01, most=86_400)

    @property
    def org_ids(self) -> list[int]:
        """The organisations, each once."""
        return sorted({int(each) for each in self.organisations.split(",")})

    def objections(self) -> Iterator[str]:
        """Say in sentences which values cannot be used beside the others."""
        yield from KafkaSettings.objections(self)
        if not _is_broker(self.amqp_url):
            yield "BRIDGE_AMQP_URL must begin with amqp:// or amqps://, and name a host."
        if not _ORGANISATIONS.fullmatch(self.organisations):
            yield "BRIDGE_ORGANISATIONS must be numbers with commas between them, such as 310,311."
        if self.queue_prefix.startswith(_FOREIGN) or not re.fullmatch(r"[!-~]{1,200}", self.queue_prefix):
            yield (
                "BRIDGE_QUEUE_PREFIX must be a name of the bridge's own:"
                f" none with spaces, and none that begins with {', '.join(_FOREIGN)}."
            )


def _is_broker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # of a wrong one, it raises
    except ValueError:
        return False
    return parts.scheme in ("amqp", "amqps") and bool(parts.hostname)
