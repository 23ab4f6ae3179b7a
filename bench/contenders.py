"""Who runs: each contender is a process of its own, told by environment variables where its topics are."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import c_loop, java_peer, quix_environment
from streams.settings.table import Settings

_JAVA_SESSION = "45"  # seconds; Kafka's default
_NOWHERE = "http://127.0.0.1:1"  # where no lookup is part of the scenario
#: At once, where the scenario does not say. It has no circuit breaker: all behind a full queue wait.
_FLINK_LOOKUPS = "1000"
PEERS = Path(__file__).parent / "peers"
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where one round happens."""

    bootstrap_servers: str
    group: str
    actions: str
    statuses: str
    emails: str
    partitions: int
    folder: Path
    web_port: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)  # of our worker, without the prefix

    @classmethod
    def of(cls, bootstrap_servers: str, group: str, partitions: int, folder: Path, **more: Any) -> Place:
        """Where a group has topics of its own, by their usual names."""
        topics = (f"{group}-{name}" for name in ("actions", "statuses", "emails"))
        return cls(bootstrap_servers, group, *topics, partitions, folder, **more)


@dataclass(frozen=True, slots=True)
class Contender:
    """One entry of the field.

    Attributes:
        name: short, for command lines and results.
        title: for tables.
        argv: the command, once what it needs is there.
        environ: its environment, besides PATH and the like.
        absent: why it cannot run on this machine, or None; may download what it needs, once.
        share: how many of a scenario's actions it is given; less for one that would take minutes.
        own_actions: its actions are put on a topic of their own after it has its statuses, since it does not
            wait for them by itself.
        decides: whether it chooses a letter; if not, every letter is right.
    """

    name: str
    title: str
    argv: Callable[[Place], list[str]]
    environ: Callable[[Place], dict[str, str]]
    absent: Callable[[Callable[[str], None]], str | None] = lambda _: None
    share: float = 1.0
    own_actions: bool = False
    decides: bool = True

    @property
    def in_topics(self) -> str:
        """Its name with nothing but what Kafka allows in the name of a topic."""
        return re.sub(r"[^a-z0-9._-]", "-", self.name.lower())


def _ours(place: Place) -> dict[str, str]:
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": place.bootstrap_servers,
        "GROUP_ID": place.group,
        "ACTIONS_TOPIC": place.actions,
        "STATUS_TOPIC": place.statuses,
        "EMAILS_TOPIC": place.emails,
        "DEAD_LETTERS_TOPIC": f"{place.group}-dlq",
        "ACTIONS_START": "earliest",
        "STORE_FOLDER": str(place.folder / "state"),
        "WEB_PORT": str(place.web_port),
        **place.settings,
    }
    return {
        **{f"STREAMS_{name}": value for name, value in settings.items() if name != "ACTIONS_START"},
        "ACTIONS_START": settings["ACTIONS_START"],
        "PYTHONPATH": str(ROOT),
    }


def _peer(trick: str = "splice", **more: str) -> Callable[[Place], dict[str, str]]:
    def environ(place: Place) -> dict[str, str]:
        return {
            "BENCH_SERVERS": place.bootstrap_servers,
            "BENCH_GROUP": place.group,
            "BENCH_ACTIONS": place.actions,
            "BENCH_STATUSES": place.statuses,
            "BENCH_EMAILS": place.emails,
            "BENCH_FOLDER": str(place.folder / "state"),
            "BENCH_TRICK": trick,
            "BENCH_WEB_PORT": str(place.web_port),
            "BENCH_PARTITIONS": str(place.partitions),
            **more,
        }

    return environ


def _script(name: str) -> Callable[[Place], list[str]]:
    return lambda _: [sys.executable, str(PEERS / name)]


def _java(name: str, title: str, trick: str, threads: int = 1) -> Contender:
    def environ(place: Place) -> dict[str, str]:
        session = place.settings.get("SESSION_TIMEOUT", _JAVA_SESSION)
        return _peer(trick, BENCH_THREADS=str(threads), BENCH_SESSION_SECONDS=session)(place)

    peer = java_peer.KAFKA_STREAMS
    return Contender(name, title, lambda _: peer.command(), environ, absent=peer.absent)


def _flink(place: Place) -> dict[str, str]:
    """Its lookups are those that our worker is told of by its settings."""
    urls, deadlines = {"": place.settings.get("LOOKUP_URL", _NOWHERE)}, {}
    if file := place.settings.get("ORGANISATIONS_FILE"):
        for org, plan in tomllib.loads(Path(file).read_text(encoding="utf-8"))["organisation"].items():
            urls[org], deadlines[org] = plan["url"], plan["deadline"]
    deadline = max(deadlines.values(), default=float(place.settings.get("LOOKUP_DEADLINE", "2")))
    return _peer(
        BENCH_LOOKUPS=place.settings.get("LOOKUP_CONCURRENCY", _FLINK_LOOKUPS),
        BENCH_LOOKUP_URLS=",".join(f"{org}={url}" for org, url in urls.items()),
        BENCH_LOOKUP_MILLISECONDS=f"{deadline * 1000:.0f}",
    )(place)


def _quix(name: str, title: str, trick: str, commit: str) -> Contender:
    """Its own commit interval is 5 s, which is best for its throughput, and worst for its delay."""
    return Contender(
        name,
        title,
        lambda _: [str(quix_environment.python()), str(PEERS / "quix.py")],
        _peer(trick, BENCH_COMMIT_SECONDS=commit),
        absent=quix_environment.absent,
    )


_ALL = [
    Contender("ours", "this app", lambda _: [sys.executable, "-m", "streams", "worker"], _ours),
    Contender("bare", "bare aiokafka loop, splicing", _script("bare_loop.py"), _peer()),
    Contender("bare-parse", "bare aiokafka loop, parsing", _script("bare_loop.py"), _peer("parse")),
    _java("kafka-streams", "Kafka Streams EOS v2, parsing", "parse"),
    _java("kafka-streams-splice", "Kafka Streams EOS v2, splicing", "splice"),
    _java("kafka-streams-2", "Kafka Streams EOS v2, splicing, two threads", "splice", threads=2),
    Contender(
        "flink",
        "Flink async I/O, exactly once, splicing",
        lambda _: java_peer.FLINK.command(),
        _flink,
        absent=java_peer.FLINK.absent,
        own_actions=True,
    ),
    Contender(
        "c-loop",
        "C loop on librdkafka, no decision",
        lambda _: c_loop.command(),
        _peer(),
        absent=c_loop.absent,
        decides=False,
    ),
    _quix("quix", "Quix Streams EOS, parsing", "parse", "5"),
    _quix("quix-splice", "Quix Streams EOS, splicing", "splice", "5"),
    _quix("quix-100ms", "Quix Streams EOS, splicing, commits every 100 ms", "splice", "0.1"),
    Contender(
        "faust",
        "stock Faust agent, at least once",
        lambda _: [sys.executable, str(PEERS / "stock_faust.py"), "worker", "-l", "warn"],
        _peer("parse"),
        share=0.1,
        own_actions=True,
    ),
]

CONTENDERS = {each.name: each for each in _ALL}


def with_settings(text: str) -> Contender:
    """This app once more, with settings of its own: "NATIVE_PASS=on,LOOKUP_CONCURRENCY=8".

    Raises:
        ValueError: that is no such list, or the worker of this checkout has no such setting.
    """
    settings = {}
    for one in text.split(","):
        name, equals, value = one.partition("=")
        if not equals:
            raise ValueError(f"{one} is no setting: write NAME=VALUE")
        if name.lower() not in Settings.model_fields:
            raise ValueError(f"the worker has no setting {name}")
        settings[name] = value
    ours = CONTENDERS["ours"]

    def environ(place: Place) -> dict[str, str]:
        return ours.environ(replace(place, settings={**place.settings, **settings}))

    return replace(ours, name=f"ours {text}", title=f"{ours.title}, {text}", environ=environ)
