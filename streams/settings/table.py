"""Every setting with its default, allowed range and meaning: the environment first, and nothing guessed.

The class below, with Kafka's part from ``kafka_table``, is the only table: start-up checks, ``streams
settings`` and docs/reference.md come from it. A wrong value stops the start, and all wrong values are named
at once, since a start that fails once for each of five mistakes costs five deployments.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, SecretStr

from streams.settings.environment import PREFIX
from streams.settings.fields import TOPIC, HostNames, PlainName, Seconds, number, other, secret
from streams.settings.kafka_table import KafkaSettings
from streams.settings.values import (
    MASK,
    address,
    existing_file,
    header_text,
    host,
    http_url,
    user,
    without_query,
)

# Each pending lookup may cost a run in the commit metadata (see streams.delivery.commit_metadata), and the
# broker's offset.metadata.max.bytes is 4,096 by default: more pending lookups than this
# might not fit into a commit.
MOST_PENDING_LOOKUPS = 512


class SettingsError(ValueError):
    """One or more settings are wrong. ``problems`` holds one sentence each; none shows a secret."""

    def __init__(self, problems: list[str]) -> None:
        count = "1 setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
        super().__init__("\n  ".join([f"{count}:", *problems]))
        self.problems = tuple(problems)


class Settings(KafkaSettings):
    """The effective settings. Durations are seconds. Made by ``load_settings``; never changes afterwards."""

    # Topics
    actions_topic: PlainName = other("actions", TOPIC, "Read: the campaign actions")
    status_topic: PlainName = other("supporter-status", TOPIC, "Read: who is a subscriber (compacted)")
    emails_topic: PlainName = other("confirmation-emails", TOPIC, "Written: one record per confirmation")
    dead_letters_topic: PlainName = other(
        "actions.dlq", TOPIC, "Written: actions from which no email can be made"
    )
    topic_partitions: int = number(
        8,
        1,
        1000,
        "partitions",
        "Partitions of topics that the worker creates, where no other topic says how many",
    )
    topic_replication: int = number(
        1, 1, 10, "replicas", "Replicas of topics that the worker creates; 3 in production"
    )
    actions_start: Literal["earliest", "latest"] | None = other(
        None,
        "earliest, latest",
        "Where a group without committed offsets begins; unset: not ready until a person decides",
        bare="ACTIONS_START",
    )

    confirm_repeats_at: Literal["deliver"] | None = other(
        None, "deliver", "A stage at which actions with a contact.dupeRank above 0 get an email, too"
    )

    duplicate_window: Seconds = number(
        0,
        0,
        86_400,
        "s",
        "So long after its email, the same action gets no second one; 0: each record gets its own",
    )

    # Table of statuses
    store: Literal["rocksdb", "memory"] = other("rocksdb", "rocksdb, memory", "Where the table is kept")
    store_folder: Path = other(Path("state"), "a folder", "Where rocksdb keeps its files")
    store_block_cache: int = number(64, 1, 65536, "MiB", "rocksdb's block cache for each partition")

    # Lookup
    organisations_file: Annotated[Path, AfterValidator(existing_file)] | None = other(
        None, "a TOML file that exists", "Each organisation's own lookup", bare="ORGANISATIONS_FILE"
    )
    lookup_url: Annotated[str, AfterValidator(http_url)] | None = other(
        None,
        "http(s)://host[:port][/path], without user, password or #fragment",
        "One lookup for every organisation, where there is no organisations file; unset: two buttons",
    )
    lookup_authorization: Annotated[SecretStr, AfterValidator(header_text)] | None = secret(
        "printable ASCII", "Raw value of the Authorization header"
    )
    lookup_user: Annotated[str, AfterValidator(user)] | None = other(
        None, "printable, without ':'", "User for Basic authentication"
    )
    lookup_password: SecretStr | None = secret("any text", "Password for Basic authentication")
    lookup_deadline: Seconds = number(
        2, 0.05, 30, "s", "A lookup that has not answered by then has failed: two buttons"
    )
    lookup_concurrency: int = number(
        64, 1, 1000, "lookups", "How many lookups of one organisation are under way at once"
    )
    lookup_keep_subscribed: Seconds = number(
        86_400, 0, 31_536_000, "s", "How long the answer 'subscribed' is kept; 0: it is used once"
    )
    lookup_keep_not_subscribed: Seconds = number(
        3_600, 0, 31_536_000, "s", "How long the answer 'not subscribed' is kept; 0: it is used once"
    )
    max_pending_lookups: int = number(
        512, 1, MOST_PENDING_LOOKUPS, "lookups", "How many actions of one partition may await their lookups"
    )
    pending_lookups_per_organisation: int = number(
        128,
        1,
        MOST_PENDING_LOOKUPS,
        "lookups",
        "How many of these may be of one organisation; more get two buttons at once",
    )

    # Flow
    chunk_records: int = number(
        2000, 1, 50_000, "records", "How many records a lane is given at once, at most"
    )
    native_pass: Literal["off", "on"] = other("on", "off, on", "Whether usual actions become emails in C")
    native_index: int = number(64, 1, 4_096, "MiB", "Memory for the statuses that the native pass knows")
    max_unsettled: int = number(
        20_000,
        100,
        1_000_000,
        "records",
        "How many records of one partition may be taken and not committed; then it is not fetched",
    )
    dead_letter_ceiling: float = number(
        0.5, 0, 1, "share", "A larger share of dead letters among its last 1,000 actions stops a partition"
    )
    stuck_after: Seconds = number(
        30, 5, 3600, "s", "After so long without progress, a lane with work or the consumer fails /livez"
    )
    drain_grace: Seconds = number(
        5, 0, 300, "s", "A worker that is told to stop waits so long for lookups under way"
    )

    # Web page and log
    web_host: Annotated[str, AfterValidator(host)] = other(
        "127.0.0.1",
        "an IP address or host name",
        "Where metrics and probes listen; 0.0.0.0: at every IPv4 address, :: at every IPv6 one alone",
    )
    web_host_names: HostNames | None = other(
        None,
        "host names, several with commas",
        "Names by which a reverse proxy or Prometheus asks for the pages, if public DNS has them",
    )
    web_port: int = number(6066, 1, 65535, "port", "Where metrics and probes listen")
    web_address: Annotated[str, AfterValidator(address)] | None = other(
        None,
        "a host, or host:port; IPv6 in brackets before a port",
        "Where other workers ask for the page; unset: STREAMS_WEB_HOST, or the machine's name if that is all",
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    ] = other("info", "debug, info, warning, error", "The lowest level that is logged")
    log_style: Literal["auto", "json", "text"] = other(
        "auto", "auto, json, text", "How log lines look; auto is text in a terminal and JSON elsewhere"
    )
    sentry_dsn: SecretStr | None = secret(
        "a Sentry DSN", "Where errors are reported, with the extra sentry", bare="SENTRY_DSN"
    )
    otlp_endpoint: Annotated[str, AfterValidator(http_url)] | None = other(
        None,
        "an http:// or https:// URL",
        "Where traces go (OTLP over HTTP), with the extra otel",
        bare="OTEL_EXPORTER_OTLP_ENDPOINT",
    )


class SettingRow(NamedTuple):
    """One line of the settings table, as docs/reference.md shows it."""

    name: str
    bare_name: str  # a second name without the prefix, or ""
    default: str  # "" if the setting has none
    unit: str
    allowed: str
    meaning: str
    secret: bool

    @property
    def allowed_with_unit(self) -> str:
        """The range as a sentence can say it: ``0.05 to 30 s``."""
        return f"{self.allowed} {self.unit}" if self.unit not in {"", "port", "share"} else self.allowed


class EffectiveRow(NamedTuple):
    """One setting as it is in force. ``value`` is what JSON can hold; a secret's is masked."""

    row: SettingRow
    value: str | float | list[str] | None
    source: Literal["default", "environment"]


def row_of(field: str) -> SettingRow:
    """Return the table's line of one field of :class:`Settings`."""
    about = Settings.model_fields[field]
    extra: dict[str, Any] = about.json_schema_extra  # type: ignore[assignment]  # always the dict given above
    default = _shown(about.default)
    text = ", ".join(default) if isinstance(default, list) else "" if default is None else f"{default}"
    return SettingRow(
        PREFIX + field.upper(),
        extra.get("bare", ""),
        text,
        extra["unit"],
        extra["allowed"],
        about.description or "",
        "secret" in extra,
    )


def _shown(value: object) -> str | float | list[str] | None:
    match value:
        case None | int() | float():
            return value
        case tuple():
            return [str(part) for part in value]
        case SecretStr():
            return MASK
        case _:
            return without_query(str(value))


def describe() -> list[SettingRow]:
    """Every setting, in the order of the table: for documentation and for tests against it."""
    return [row_of(field) for field in Settings.model_fields]


def variables_in(environ: Iterable[str]) -> list[str]:
    """Return those of the environment's names that configure a worker."""
    bare = {row.bare_name for row in describe() if row.bare_name}
    names = bare | {f"{name}_FILE" for name in bare}
    return [name for name in environ if name.startswith(PREFIX) or name in names]


def effective(settings: Settings) -> list[EffectiveRow]:
    """Every setting with its value in force and whether the environment gave it."""
    return [
        EffectiveRow(
            row_of(field),
            _shown(getattr(settings, field)),
            "environment" if field in settings.model_fields_set else "default",
        )
        for field in Settings.model_fields
    ]
