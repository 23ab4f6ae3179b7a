"""What the examples can be set by: environment variables that are read, checked and described in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
#: What each mechanism needs.
NEEDED = {
    **dict.fromkeys(("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), ("kafka_sasl_user", "kafka_sasl_password")),
    "OAUTHBEARER": ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret"),
    "AWS_MSK_IAM": ("kafka_aws_region",),
}
#: What OAUTHBEARER may have besides.
ALLOWED = ("kafka_oauth_scope", "kafka_oauth_extensions", "kafka_oauth_ca_file")
MECHANISMS = tuple(NEEDED)


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
        least = "" if self.least is None else f" from {self.least:g}"
        most = "" if self.most is None else f" to {self.most:g}"
        return f"{words}{least}{most}"


def setting(meaning: str, default: Any = MISSING, **about: Any) -> Any:
    """Describe a field of a class of settings."""
    return field(default=default, metadata={"about": About(meaning, **about)})


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How a program connects to Kafka: what its own settings inherit.

    Each is read from ``PREFIX`` and its name in capitals; those without a default must be given.
    """

    PREFIX: ClassVar[str]

    kafka_bootstrap_servers: str = setting("Brokers to ask first, with commas", "localhost:9092")
    kafka_security_protocol: str = setting("TLS, SASL, both or neither", "PLAINTEXT", choices=PROTOCOLS)
    kafka_ca_file: str = setting("Who may vouch for the brokers, PEM; unset: the system's authorities", "")
    kafka_client_certificate_file: str = setting("Mutual TLS: the own certificate, PEM", "")
    kafka_client_key_file: str = setting("Mutual TLS: its key, PEM", "")
    kafka_client_key_password: str = setting("Opens that key, if it is encrypted", "", secret=True)
    kafka_sasl_mechanism: str = setting("How it proves to the brokers who it is", "", choices=MECHANISMS)
    kafka_sasl_user: str = setting("User at the brokers", "")
    kafka_sasl_password: str = setting("Password at the brokers", "", secret=True)
    kafka_oauth_token_url: str = setting("OAUTHBEARER: the token endpoint of the OIDC provider", "")
    kafka_oauth_client_id: str = setting("OAUTHBEARER: who asks for the token", "")
    kafka_oauth_client_secret: str = setting("OAUTHBEARER: the secret of that client", "", secret=True)
    kafka_oauth_scope: str = setting("OAUTHBEARER: what the token is asked for", "")
    kafka_oauth_extensions: str = setting("OAUTHBEARER: `name=value`, several with commas", "")
    kafka_oauth_ca_file: str = setting("OAUTHBEARER: who may vouch for the token endpoint, PEM", "")
    kafka_aws_region: str = setting("AWS_MSK_IAM: the region of the cluster", "")

    def objections(self) -> Iterator[str]:
        """Say in sentences which values cannot be used beside the others."""
        protocol = f"{self.PREFIX}KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}"
        for name in ("kafka_ca_file", "kafka_client_certificate_file", "kafka_client_key_file"):
            if getattr(self, name) and not self.kafka_security_protocol.endswith("SSL"):
                yield f"{self.PREFIX}{name.upper()} is set and {protocol}: without TLS, it would do nothing."
        if bool(self.kafka_client_certificate_file) != bool(self.kafka_client_key_file):
            client = f"{self.PREFIX}KAFKA_CLIENT"
            yield f"{client}_CERTIFICATE_FILE and {client}_KEY_FILE go together."
        has_sasl = self.kafka_security_protocol.startswith("SASL")
        if bool(self.kafka_sasl_mechanism) != has_sasl:
            yield (f"{self.PREFIX}KAFKA_SASL_MECHANISM is {'missing' if has_sasl else 'set'} and {protocol}.")
        needed = NEEDED.get(self.kafka_sasl_mechanism, ()) if has_sasl else ()
        mechanism = f"{self.PREFIX}KAFKA_SASL_MECHANISM is {self.kafka_sasl_mechanism or 'missing'}"
        for name in dict.fromkeys((*(each for several in NEEDED.values() for each in several), *ALLOWED)):
            is_set = bool(getattr(self, name))
            allowed = name in ALLOWED and "kafka_oauth_token_url" in needed
            if is_set != (name in needed) and not allowed:
                why = mechanism if has_sasl else protocol
                yield f"{self.PREFIX}{name.upper()} is {'set' if is_set else 'missing'} and {why}."


S = TypeVar("S", bound=KafkaSettings)


class Described(NamedTuple):
    """One setting, for a table."""

    name: str
    meaning: str
    default: str | None  # None: it must be given
    allowed: str
    secret: bool


def describe(kind: type[KafkaSettings]) -> Iterator[Described]:
    """Every setting, in order."""
    for each in fields(kind):
        about: About = each.metadata["about"]
        default = None if each.default is MISSING else str(each.default)
        yield Described(
            _name(kind, each), about.meaning, default, about.allowed(str(each.type)), about.secret
        )


def settings_table(kind: type[KafkaSettings]) -> str:
    """Every setting, as Markdown."""
    rows = ["| setting | meaning | default | allowed |", "|---|---|---|---|"]
    for name, meaning, default, allowed, secret in describe(kind):
        shown = "must be set" if default is None else f"`{default}`" if default else "—"
        also = f" or `{name}_FILE`" if secret else ""
        rows.append(f"| `{name}`{also} | {meaning} | {shown} | {allowed} |")
    return "\n".join(rows)


def read_settings(kind: type[S], environ: Mapping[str, str]) -> S:
    """Read the settings from an environment; an empty value counts as not given.

    Raises:
        WrongSetting: one is missing, unknown, not of its kind, or impossible beside another.
    """
    known = {_name(kind, each): each for each in fields(kind)}
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(kind.PREFIX) or not text:
            continue
        found = known.get(name)
        if found is None:
            found = known.get(name.removesuffix("_FILE"))
            if found is None or not found.metadata["about"].secret:
                raise WrongSetting(f"{name} is no setting; there are {', '.join(known)}.")
            text = _content(name, text)
        if found.name in values:
            full = _name(kind, found)
            raise WrongSetting(f"{full} and {full}_FILE are both set: give one of them.")
        values[found.name] = _read(name, found, text)
    for each in fields(kind):
        if each.default is MISSING and each.name not in values:
            raise WrongSetting(f"{_name(kind, each)} must be set.")
    settings = kind(**values)
    for objection in settings.objections():
        raise WrongSetting(objection)
    return settings


def _name(kind: type[KafkaSettings], setting: Field[Any]) -> str:
    return kind.PREFIX + setting.name.strip("_").upper()


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
