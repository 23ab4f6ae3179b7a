"""Kafka's jars: resolved from Maven Central once, then kept.

The cache folder holds `kafka-<version>/`, which is complete or not there at all: it is filled under another
name and renamed. `classpath.json` in it lists every jar with its size, so that a later start needs a few
`stat` calls and no network, and notices a jar that somebody removed or cut short.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from streams.sandbox.kafka.errors import EmbeddedKafkaUnavailable

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

KAFKA_VERSION = "4.3.1"
KAFKA = "org.apache.kafka:kafka_2.13"
LOGGING = "org.slf4j:slf4j-simple:1.7.36"
"""Kafka's pom has the SLF4J API (1.7) and no binding: without one, a broker dies without a word."""

Progress = Callable[[str], None]
"""Is told, in a few words, what is being done; called only when something takes time."""

_DOWNLOADS_AT_ONCE = 4
_REQUEST_SECONDS = 15
_ATTEMPTS = 3


def silent(_: str) -> None:
    """Progress that nobody wants to see."""


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/confirmation-streams`, or under ~/.cache (XDG Base Directory Specification).

    Raises:
        EmbeddedKafkaUnavailable: there is no such folder.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    # "All paths must be absolute. If an implementation encounters a relative path […] ignore it."
    if os.path.isabs(base):
        return Path(base) / "confirmation-streams"
    try:
        return Path.home() / ".cache/confirmation-streams"
    except RuntimeError:
        raise EmbeddedKafkaUnavailable(
            "This user has no home folder to keep Apache Kafka's jars in: name a folder in XDG_CACHE_HOME."
        ) from None


def kafka_folder(cache: Path | None = None, version: str = KAFKA_VERSION) -> Path:
    """Where a version's jars are kept."""
    return (cache or cache_folder()) / f"kafka-{version}"


def classpath(
    cache: Path | None = None, progress: Progress = silent, version: str = KAFKA_VERSION
) -> list[Path]:
    """Kafka's jars, in class path order; downloaded (45 MB) if they are not in the cache.

    Raises:
        EmbeddedKafkaUnavailable: they are not in the cache and cannot be downloaded.
    """
    folder = kafka_folder(cache, version)
    if jars := _cached(folder):
        return jars
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock"), progress):
            if jars := _cached(folder):  # another process was faster
                return jars
            _fill(folder, progress, version)
    except OSError as error:
        raise EmbeddedKafkaUnavailable(
            f"Apache Kafka {version}'s jars cannot be kept in {folder.parent} ({error.strerror}): "
            "make that folder writable, or name another one in XDG_CACHE_HOME."
        ) from error
    jars = _cached(folder)
    assert jars is not None, "a folder that was just filled is complete"
    return jars


def _cached(folder: Path) -> list[Path] | None:
    """The class path if every jar is there with the size that it had, else None."""
    try:
        listed: list[tuple[str, int]] = json.loads((folder / "classpath.json").read_bytes())
        jars = [folder / name for name, _ in listed]
        complete = all(jar.stat().st_size == size for jar, (_, size) in zip(jars, listed, strict=True))
    except (OSError, ValueError, TypeError):
        return None
    return jars if jars and complete else None


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the file lock; the kernel frees it however its holder ends."""
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that is downloading Apache Kafka")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(folder: Path, progress: Progress, version: str) -> None:
    """Resolve and download into a new folder, then put it in place of whatever is there."""
    for abandoned in folder.parent.glob(f"{folder.name}.new-*"):  # by a killed process; we have the lock
        shutil.rmtree(abandoned, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{folder.name}.new-", dir=folder.parent))
    try:
        jars = _download(staging, progress, version)
        listed = [(str(jar.relative_to(staging)), jar.stat().st_size) for jar in jars]
        (staging / "classpath.json").write_text(json.dumps(listed, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _download(repository: Path, progress: Progress, version: str) -> list[Path]:
    """Every jar that Kafka needs, into a Maven repository folder."""
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
    except ImportError as error:
        raise EmbeddedKafkaUnavailable(
            f"Apache Kafka {version}'s jars are not in the cache, and the package jgo, which downloads "
            "them, is missing: run: pip install 'confirmation-streams[embedded]'"
        ) from error
    # A mirror that the user set up for jgo is asked too, and first.
    remotes = {**GlobalSettings.load().repositories}
    remotes.setdefault("central", MAVEN_CENTRAL_URL)
    context = MavenContext(repo_cache=repository, remote_repos=remotes, timeout=_REQUEST_SECONDS)
    try:
        progress(f"resolving Apache Kafka {version} on Maven Central")
        artifacts = _resolve(context, progress, version)
        jars: dict[str, Path] = {}
        pool = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE)
        try:
            started = {pool.submit(_fetch, artifact): artifact for artifact in artifacts}
            for finished in as_completed(started):
                jars[str(started[finished])] = finished.result()
                progress(f"downloading Apache Kafka {version}: {len(jars)} of {len(artifacts)} jars")
        finally:
            pool.shutdown(cancel_futures=True)
    # jgo raises RuntimeError for a missing artifact, requests' errors (OSErrors without an errno) for the
    # network, and whatever an XML parser says of a captive portal's page.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a full or read-only disk is no network failure
        raise EmbeddedKafkaUnavailable(
            f"Apache Kafka {version}'s jars are not in the cache and cannot be downloaded from Maven "
            f"Central ({type(error).__name__}): connect to the network once, or give jgo a mirror."
        ) from error
    return [jars[str(artifact)] for artifact in artifacts]


def _resolve(context: MavenContext, progress: Progress, version: str) -> list[Artifact]:
    """Kafka with its dependencies, then the logging binding alone.

    Not in one resolution: jgo lets each requested artifact's parent pom manage the versions of all others,
    and with Log4j's SLF4J binding in the same request it took kafka-clients 3.9.1 for Kafka 4.3.1.
    """
    from jgo.parse import Coordinate

    requested = context.create_dependency(replace(Coordinate.parse(f"{KAFKA}:{version}"), scope="compile"))
    for attempt in range(_ATTEMPTS):
        try:
            inputs, transitive = context.resolver.resolve([requested])
            break
        except Exception:
            if attempt == _ATTEMPTS - 1:
                raise
            for pom in context.repo_cache.rglob("*.pom"):  # one of them may be cut short
                pom.unlink()
            progress(f"resolving Apache Kafka {version} on Maven Central, attempt {attempt + 2}")
    group, name, version = LOGGING.split(":")
    artifacts = [dependency.artifact for dependency in inputs]
    artifacts += [found.artifact for found in transitive if found.scope in ("compile", "runtime")]
    return [*artifacts, context.project(group, name).at_version(version).artifact()]


def _fetch(artifact: Artifact) -> Path:
    """Download one jar, again if the connection broke or what came is no whole zip file (its CRCs say so)."""
    for attempt in range(_ATTEMPTS):
        try:
            jar = artifact.resolve()
            with zipfile.ZipFile(jar) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile(jar.name)
        except Exception:
            if attempt == _ATTEMPTS - 1:
                raise
            if artifact.cached_path is not None:  # else jgo would take the broken file for a whole one
                artifact.cached_path.unlink(missing_ok=True)
        else:
            return jar
    raise AssertionError("the last attempt returns or raises")
