"""Where the jars come from, against a Maven repository of our own that serves what the cache holds."""

import pwd
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest

from streams.sandbox.kafka import jars
from streams.sandbox.kafka.errors import EmbeddedKafkaUnavailable

pytestmark = pytest.mark.kafka


class MavenRepository:
    """Serves a folder over HTTP, counts what is asked for, and can fail or hang on the way."""

    def __init__(self, folder: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.cut_short: set[str] = set()
        self.hang = False
        self.hanging = threading.Event()
        self._let_go = threading.Event()
        repository = self

        class Answer(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                repository.asked[name] += 1
                if repository.hang and name.endswith(".jar"):
                    repository.hanging.set()
                    repository._let_go.wait()
                elif name in repository.cut_short:
                    repository.cut_short.discard(name)
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"PK\x03\x04 and then the line went dead")
                else:
                    super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answer, directory=str(folder)))
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self._let_go.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MavenRepository]:
    """The repository as the only one that jgo asks, through jgo's own settings file."""
    jars.classpath()  # so that there is something to serve
    with closing(MavenRepository(jars.kafka_folder())) as repository:
        settings = tmp_path / "jgo.conf"
        settings.write_text(f"[repositories]\ncentral = {repository.url}\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
        yield repository


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def in_a_process(cache: Path) -> subprocess.Popen[str]:
    code = "from pathlib import Path; from streams.sandbox.kafka import jars; jars.classpath(Path({!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code.format(str(cache))], stderr=subprocess.PIPE, text=True
    )


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


@pytest.mark.slow
def test_two_processes_download_once(maven: MavenRepository, cache: Path) -> None:
    """Two processes that need the jars at once get the same ones, and each jar is downloaded once."""
    both = [in_a_process(cache), in_a_process(cache)]
    assert [(process.communicate(timeout=120)[1], process.returncode) for process in both] == [("", 0)] * 2

    downloads = {name: times for name, times in maven.asked.items() if name.endswith(".jar")}
    assert len(downloads) == len(jars.classpath(cache)) > 40
    assert set(downloads.values()) == {1}
    assert kept(cache) == [f"kafka-{jars.KAFKA_VERSION}", f"kafka-{jars.KAFKA_VERSION}.lock"]


def test_versions_belong_together(maven: MavenRepository, cache: Path) -> None:
    """Every Kafka jar has the pinned version, and there is exactly one logging binding."""
    names = [jar.name for jar in jars.classpath(cache)]
    kafka = [name for name in names if name.startswith("kafka")]
    assert f"kafka-clients-{jars.KAFKA_VERSION}.jar" in kafka
    assert all(name.endswith(f"-{jars.KAFKA_VERSION}.jar") for name in kafka)
    assert names.count("slf4j-simple-1.7.36.jar") == 1


@pytest.mark.slow
def test_complete_cache_needs_no_network(maven: MavenRepository, cache: Path) -> None:
    """The second time nothing is asked for, and a jar that somebody cut short is noticed and replaced."""
    first = jars.classpath(cache)
    maven.asked.clear()
    assert jars.classpath(cache) == first
    assert not maven.asked

    size = first[0].stat().st_size
    first[0].write_bytes(b"short")
    assert jars.classpath(cache) == first
    assert first[0].stat().st_size == size


def test_broken_download_is_tried_again(maven: MavenRepository, cache: Path) -> None:
    """A jar that arrives cut short is fetched again and not kept."""
    broken = f"kafka-clients-{jars.KAFKA_VERSION}.jar"
    maven.cut_short = {broken}
    told: list[str] = []
    (jar,) = (jar for jar in jars.classpath(cache, told.append) if jar.name == broken)
    assert maven.asked[broken] == 2
    assert jar.stat().st_size > 1_000_000
    assert "resolving" in told[0]
    assert told[-1].endswith(f"{len(told) - 1} of {len(told) - 1} jars")


@pytest.mark.slow
def test_killed_download_leaves_nothing_that_counts(maven: MavenRepository, cache: Path) -> None:
    """A process that is killed while it downloads leaves no half of a cache, and its lock is free."""
    maven.hang = True
    process = in_a_process(cache)
    assert maven.hanging.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (cache / f"kafka-{jars.KAFKA_VERSION}").exists()

    maven.hang = False
    assert len(jars.classpath(cache)) > 40
    assert kept(cache) == [f"kafka-{jars.KAFKA_VERSION}", f"kafka-{jars.KAFKA_VERSION}.lock"]


def test_no_network_is_one_sentence_with_a_way_out(maven: MavenRepository, cache: Path) -> None:
    """Where nothing can be downloaded the error says what is missing and what to do, and nothing is left."""
    maven.close()
    with pytest.raises(EmbeddedKafkaUnavailable, match=r"cannot be downloaded .* connect to the network"):
        jars.classpath(cache)
    assert kept(cache) == [f"kafka-{jars.KAFKA_VERSION}.lock"]


def test_without_jgo_the_error_names_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed without the extra, the error says which package is missing."""
    monkeypatch.setitem(sys.modules, "jgo.config", None)
    with pytest.raises(EmbeddedKafkaUnavailable, match=r"jgo.*pip install"):
        jars.classpath(cache)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A cache that cannot be kept is an error that names the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedKafkaUnavailable, match=r"cannot be kept in .*file"):
        jars.classpath(tmp_path / "file" / "cache")


@pytest.mark.parametrize("content", ["", "{}", "[]", "[[1, 2]]", '[["no.jar", 3]]', "[3]"])
def test_unreadable_list_counts_as_none(tmp_path: Path, content: str) -> None:
    """A list of jars that makes no sense is no cache, whatever is wrong with it."""
    (tmp_path / "classpath.json").write_text(content)
    assert jars._cached(tmp_path) is None


def test_cache_folder_follows_the_xdg_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME counts if it is an absolute path; else it is ~/.cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert jars.cache_folder() == Path("/somewhere/confirmation-streams")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert jars.cache_folder() == Path.home() / ".cache" / "confirmation-streams"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of a container may have neither HOME nor an entry in passwd."""

    def unknown(_: int) -> NoReturn:
        raise KeyError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(EmbeddedKafkaUnavailable, match="name a folder in XDG_CACHE_HOME"):
        jars.cache_folder()
