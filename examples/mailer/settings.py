"""What can be set, by environment; anything that is not known is refused before the first letter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from examples.mailer.addresses import recipient
from examples.mailer.links import CHOICES, SIGNED, VALUES, is_template, tell_choices_apart

PREFIX = "MAILER_"
SHORTEST_SECRET = 16  # characters
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class WrongSetting(Exception):
    """One sentence that names the setting; it never quotes a secret."""


class About(NamedTuple):
    """What there is to say about a setting. A secret may also be in a file, named by ``…_FILE``."""

    meaning: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    secret: bool = False

    def allowed(self, kind: str) -> str:
        """What may be given, in words."""
        if self.choices:
            return ", ".join(self.choices)
        words = {"int": "a whole number", "float": "a number"}.get(kind, "a text")
        bounds = (f"from {self.least:g}" if self.least is not None else "",)
        bounds += (f"to {self.most:g}" if self.most is not None else "",)
        return " ".join((words, *filter(None, bounds)))


def _setting(meaning: str, default: Any = MISSING, **about: Any) -> Any:
    return field(default=default, metadata={"about": About(meaning, **about)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each is read from ``MAILER_`` and its name in capitals; those without a default must be given."""

    from_: str = _setting("The sender's address")
    link_base: str = _setting("What the links in the letters begin with: the page behind the buttons")
    link_secret: str = _setting("Signs `{token}`; the page behind the links needs it too", "", secret=True)
    link_confirm: str = _setting("Template of the link behind the button of a subscriber", SIGNED)
    link_confirm_opt_in: str = _setting("The same behind the button that confirms and opts in", SIGNED)
    link_confirm_opt_out: str = _setting("The same behind the button that confirms and opts out", SIGNED)
    link_reject: str = _setting("The same for those who did not sign", SIGNED)
    action_id_header: str = _setting(
        "Name of a header with `action:` and the actionId, by which Proca knows what bounced; unset: none", ""
    )
    kafka_bootstrap_servers: str = _setting("Brokers to ask first, with commas", "localhost:9092")
    kafka_security_protocol: str = _setting("TLS, SASL, both or neither", "PLAINTEXT", choices=PROTOCOLS)
    kafka_ca_file: str = _setting("Who may vouch for the brokers, PEM; unset: the system's authorities", "")
    kafka_client_certificate_file: str = _setting("Mutual TLS: the mailer's certificate, PEM", "")
    kafka_client_key_file: str = _setting("Mutual TLS: its key, PEM", "")
    kafka_client_key_password: str = _setting("Opens that key, if it is encrypted", "", secret=True)
    kafka_sasl_mechanism: str = _setting(
        "How user and password are proved to the brokers", "", choices=MECHANISMS
    )
    kafka_sasl_user: str = _setting("User at the brokers", "")
    kafka_sasl_password: str = _setting("Password at the brokers", "", secret=True)
    topic: str = _setting("Read: one letter for each record", "confirmation-emails")
    dead_letters_topic: str = _setting(
        "Written: records that got no letter; made if it is missing", "confirmation-emails.dlq"
    )
    group_id: str = _setting("Consumer group; its offsets say what was sent", "mailer")
    smtp_host: str = _setting("The server that takes the letters", "localhost")
    smtp_port: int = _setting("Its port: 25, 587 for starttls, 465 for tls", 25, least=1, most=65535)
    smtp_security: str = _setting(
        "Encrypt after STARTTLS, from the first byte (tls), or not",
        "none",
        choices=("none", "starttls", "tls"),
    )
    smtp_ca_file: str = _setting("Who may vouch for the server, PEM; unset: the system's authorities", "")
    smtp_user: str = _setting("User at the server; unset: no login", "")
    smtp_password: str = _setting("Password at the server", "", secret=True)
    sent_file: str = _setting("Remembers which ids were sent; on a volume that stays", "mailer-sent.sqlite")
    sent_days: int = _setting("For so many days; longer than the topic's retention", 30, least=1, most=36_500)
    alive_file: str = _setting("Touched while the mailer is at work, for `healthy`; unset: no file", "")
    web_host: str = _setting("Where `/metrics`, `/livez` and `/readyz` are served", "127.0.0.1")
    web_port: int = _setting("Their port; 0: they are not served", 0, least=0, most=65535)
    retry_first: float = _setting(
        "Seconds before the second attempt; then twice as long, and so on", 1.0, least=0.01, most=3_600
    )
    retry_longest: float = _setting("Seconds between two attempts at most", 60.0, least=0.01, most=86_400)

    @property
    def link_templates(self) -> dict[str, str]:
        """The template of each choice's link."""
        return {choice: getattr(self, _template(choice)) for choice in CHOICES}


class Described(NamedTuple):
    """One setting, for a table."""

    name: str
    meaning: str
    default: str | None  # None: it must be given
    allowed: str
    secret: bool


def describe() -> Iterator[Described]:
    """Every setting, in order."""
    for each in fields(Settings):
        about: About = each.metadata["about"]
        default = None if each.default is MISSING else str(each.default)
        yield Described(_name(each), about.meaning, default, about.allowed(str(each.type)), about.secret)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from an environment; an empty value counts as not given.

    Raises:
        WrongSetting: one is missing, unknown, not of its kind, or impossible beside another.
    """
    known = {_name(each): each for each in fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or not text:
            continue
        setting = known.get(name)
        if setting is None:
            setting = known.get(name.removesuffix("_FILE"))
            if setting is None or not setting.metadata["about"].secret:
                raise WrongSetting(f"{name} is no setting; there are {', '.join(known)}.")
            text = _content(name, text)
        if setting.name in values:
            raise WrongSetting(f"{_name(setting)} and {_name(setting)}_FILE are both set: give one of them.")
        values[setting.name] = _read(name, setting, text)
    for each in fields(Settings):
        if each.default is MISSING and each.name not in values:
            raise WrongSetting(f"{_name(each)} must be set.")
    settings = Settings(**values)
    for objection in _objections(settings):
        raise WrongSetting(objection)
    return settings


def _template(choice: str) -> str:
    return f"link_{choice.replace('-', '_')}"


def _name(setting: Field[Any]) -> str:
    return PREFIX + setting.name.strip("_").upper()


def _content(name: str, path: str) -> str:
    """A secret from its file, without the line break that editors end a file with."""
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        raise WrongSetting(f"{name} must name a file that can be read.") from None


def _read(name: str, setting: Field[Any], text: str) -> Any:
    about: About = setting.metadata["about"]
    kind = str(setting.type)
    wrong = WrongSetting(f"{name} must be {about.allowed(kind)}.")
    try:
        value = {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        raise wrong from None
    if about.choices and value not in about.choices:
        raise wrong
    # Written so that NaN is refused too.
    if about.least is not None and not about.least <= value <= (about.most or float("inf")):
        raise wrong
    return value


def _objections(s: Settings) -> Iterator[str]:
    if recipient(s.from_) is None or not s.from_.isascii():
        yield "MAILER_FROM must be one address in ASCII, such as campaigns@example.org, without a name."
    if not s.link_base.startswith(("https://", "http://")):
        yield "MAILER_LINK_BASE must begin with https:// (or http://, to try it out)."
    for choice, template in s.link_templates.items():
        if not is_template(template):
            yield (
                f"{PREFIX}{_template(choice).upper()} must be {{base}}/ and the rest of a URL,"
                f" with {{token}} or {{actionId}}; there are {', '.join(f'{{{name}}}' for name in VALUES)}."
            )
    if not tell_choices_apart(s.link_templates):
        yield (
            "MAILER_LINK_CONFIRM_OPT_IN and MAILER_LINK_REJECT must differ from each other and from"
            " the other links: nobody could tell what was chosen."
        )
    if any("{token}" in each for each in s.link_templates.values()) and len(s.link_secret) < SHORTEST_SECRET:
        yield f"MAILER_LINK_SECRET must have {SHORTEST_SECRET} characters or more."
    if s.action_id_header and not re.fullmatch(r"X-[A-Za-z0-9-]{1,70}", s.action_id_header):
        yield "MAILER_ACTION_ID_HEADER must be a header's name that begins with X-, such as X-MJ-CustomID."
    protocol = f"MAILER_KAFKA_SECURITY_PROTOCOL is {s.kafka_security_protocol}"
    for name in ("kafka_ca_file", "kafka_client_certificate_file", "kafka_client_key_file"):
        if getattr(s, name) and not s.kafka_security_protocol.endswith("SSL"):
            yield f"{PREFIX}{name.upper()} is set and {protocol}: without TLS, it would do nothing."
    if bool(s.kafka_client_certificate_file) != bool(s.kafka_client_key_file):
        yield "MAILER_KAFKA_CLIENT_CERTIFICATE_FILE and MAILER_KAFKA_CLIENT_KEY_FILE go together."
    for name in ("kafka_sasl_mechanism", "kafka_sasl_user", "kafka_sasl_password"):
        if bool(getattr(s, name)) != s.kafka_security_protocol.startswith("SASL"):
            yield f"{PREFIX}{name.upper()} is {'set' if getattr(s, name) else 'missing'} and {protocol}."
    if bool(s.smtp_user) != bool(s.smtp_password):
        yield "MAILER_SMTP_USER and MAILER_SMTP_PASSWORD go together."
    if s.smtp_password and s.smtp_security == "none" and s.smtp_host not in _LOOPBACK:
        yield "MAILER_SMTP_PASSWORD would be sent in the clear: MAILER_SMTP_SECURITY must be starttls or tls."
    if s.smtp_ca_file and s.smtp_security == "none":
        yield "MAILER_SMTP_CA_FILE is set and MAILER_SMTP_SECURITY is none: without TLS, it would do nothing."
