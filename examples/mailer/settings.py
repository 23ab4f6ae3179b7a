"""What can be set, by environment; anything that is not known is refused before the first letter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

PREFIX = "MAILER_"
SHORTEST_SECRET = 16  # characters


class WrongSetting(Exception):
    """One sentence that names the setting; it never quotes a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each is read from ``MAILER_`` and its name in capitals; those without a default must be given."""

    from_: str  # MAILER_FROM: the sender's address
    link_base: str  # what the links in the letters begin with, e.g. https://act.example.org/confirm
    link_secret: str  # signs the links; the page behind them needs it too
    kafka_bootstrap_servers: str = "localhost:9092"
    topic: str = "confirmation-emails"
    dead_letters_topic: str = "confirmation-emails.dlq"
    group_id: str = "mailer"
    smtp_host: str = "localhost"
    smtp_port: int = 25
    smtp_starttls: bool = False
    smtp_user: str = ""
    smtp_password: str = ""
    sent_file: str = "mailer-sent.sqlite"  # remembers which ids were sent
    sent_days: int = 30  # for so long
    retry_first: float = 1.0  # seconds until the second attempt; then twice as long, and so on,
    retry_longest: float = 60.0  # seconds at most


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from an environment.

    Raises:
        WrongSetting: one is missing, unknown or not of its kind.
    """
    names = {PREFIX + field.name.strip("_").upper(): field for field in fields(Settings)}
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    if unknown := sorted(given.keys() - names.keys()):
        raise WrongSetting(f"{unknown[0]} is no setting; there are {', '.join(names)}.")
    values = {names[name].name: _read(name, str(names[name].type), value) for name, value in given.items()}
    missing = [name for name in ("from_", "link_base", "link_secret") if not values.get(name)]
    if missing:
        raise WrongSetting(f"{PREFIX}{missing[0].strip('_').upper()} must be set.")
    settings = Settings(**values)
    if not settings.link_base.startswith(("https://", "http://")):
        raise WrongSetting("MAILER_LINK_BASE must begin with https:// (or http://, to try it out).")
    if len(settings.link_secret) < SHORTEST_SECRET:
        raise WrongSetting(f"MAILER_LINK_SECRET must have {SHORTEST_SECRET} characters or more.")
    return settings


def _read(name: str, kind: str, value: str) -> Any:
    try:
        if kind == "bool":
            return {"true": True, "false": False}[value.lower()]
        return {"int": int, "float": float}.get(kind, str)(value)
    except (ValueError, KeyError):
        words = {"bool": "true or false", "int": "a whole number", "float": "a number of seconds"}
        raise WrongSetting(f"{name} must be {words[kind]}.") from None
