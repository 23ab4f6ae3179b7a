from pathlib import Path

import pytest

from bench import java_peer
from bench.contenders import CONTENDERS, Place
from bench.java_peer import JavaPeer


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program is to be found, and nothing is in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


def _place(folder: Path, **settings: str) -> Place:
    return Place.of("127.0.0.1:1", "group", 4, folder, settings=settings)


def test_flink_asks_the_service_of_the_scenario_as_often_and_as_long_as_our_worker(tmp_path: Path) -> None:
    """Its address, lookups at once and deadline are those of the case's settings."""
    place = _place(
        tmp_path, LOOKUP_URL="http://127.0.0.1:2/slow", LOOKUP_CONCURRENCY="24", LOOKUP_DEADLINE="10"
    )
    found = CONTENDERS["flink"].environ(place)
    assert found["BENCH_LOOKUP_URLS"] == "=http://127.0.0.1:2/slow"
    assert found["BENCH_LOOKUPS"] == "24"
    assert found["BENCH_LOOKUP_MILLISECONDS"] == "10000"


def test_flink_asks_each_organisation_s_own_service(tmp_path: Path) -> None:
    """Where organisations have a plan each, their addresses and the deadline come from that file."""
    plan = tmp_path / "organisations.toml"
    plan.write_text(
        '[organisation.310]\nurl = "http://127.0.0.1:2/slow"\ndeadline = 1.0\n'
        '[organisation.311]\nurl = "http://127.0.0.1:2/hanging"\ndeadline = 1.0\n'
    )
    found = CONTENDERS["flink"].environ(_place(tmp_path, ORGANISATIONS_FILE=str(plan)))
    urls = dict(each.split("=", 1) for each in found["BENCH_LOOKUP_URLS"].split(","))
    assert urls["310"] == "http://127.0.0.1:2/slow"
    assert urls["311"] == "http://127.0.0.1:2/hanging"
    assert found["BENCH_LOOKUP_MILLISECONDS"] == "1000"


@pytest.mark.parametrize("peer", [java_peer.KAFKA_STREAMS, java_peer.FLINK], ids=lambda peer: peer.title)
@pytest.mark.usefixtures("bare_machine")
def test_a_java_peer_without_a_compiler_says_so(peer: JavaPeer) -> None:
    """It is skipped with that reason, and nothing is downloaded."""
    told: list[str] = []
    assert peer.absent(told.append) == "no Java compiler (javac) on the PATH"
    assert told == []


@pytest.mark.parametrize("peer", [java_peer.KAFKA_STREAMS, java_peer.FLINK], ids=lambda peer: peer.title)
@pytest.mark.usefixtures("bare_machine")
def test_a_java_peer_that_is_compiled_needs_nothing_more(peer: JavaPeer) -> None:
    """Its classes and jars are taken from the cache: no network, no compiler."""
    classes = peer.classes
    classes.mkdir(parents=True)
    (classes / f"{peer.source}.class").touch()
    (classes.parent / "classpath.txt").write_text("jars/one.jar\njars/two.jar\n")
    assert peer.absent(lambda _: None) is None
    path = peer.path(classes).split(":")
    assert path == [str(classes), *(str(classes.parent / "jars" / name) for name in ("one.jar", "two.jar"))]
