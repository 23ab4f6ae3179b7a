"""Kafka Streams: its jars from Maven Central beside those of the embedded Kafka, its peer compiled once."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from streams.sandbox.kafka.errors import EmbeddedKafkaError
from streams.sandbox.kafka.jars import KAFKA_VERSION, cache_folder, classpath
from streams.sandbox.kafka.java import find_java

SOURCE = Path(__file__).parent / "peers" / "KafkaStreamsPeer.java"

#: Not in Kafka's own class path; everything else that it needs is. The version is the broker's.
EXTRA = (
    ("org.apache.kafka", "kafka-streams", KAFKA_VERSION),
    ("org.rocksdb", "rocksdbjni", "10.1.3"),
)


def _folder() -> Path:
    which = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    return cache_folder() / f"bench-kafka-streams-{KAFKA_VERSION}" / which


def _jars() -> list[Path]:
    return sorted((_folder().parent / "jars").rglob("*.jar"))


def command() -> list[str]:
    """The peer's command line, once `absent` has returned None."""
    path = os.pathsep.join(map(str, [_folder(), *_jars(), *classpath()]))
    return [
        str(find_java().executable),
        "-Xmx1g",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        path,
        SOURCE.stem,
    ]


def absent(told: Callable[[str], None]) -> str | None:
    """Fetch and compile what is not there yet; return why that was not possible."""
    javac = shutil.which("javac")
    if (_folder() / f"{SOURCE.stem}.class").exists():
        return None
    if javac is None:
        return "no Java compiler (javac) on the PATH"
    try:
        if len(_jars()) < len(EXTRA):
            _download(told)
        told("compiling the Kafka Streams peer")
        _folder().mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(map(str, [*_jars(), *classpath()]))
        subprocess.run(  # noqa: S603 - the user's compiler, our source
            [javac, "-nowarn", "-cp", path, "-d", _folder(), SOURCE],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.CalledProcessError as error:
        return f"its peer does not compile: {error.stderr.strip()[:400]}"
    except (OSError, EmbeddedKafkaError, subprocess.SubprocessError, RuntimeError) as error:
        return f"its jars cannot be had ({type(error).__name__}: {error})"
    return None


def _download(told: Callable[[str], None]) -> None:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    # As the embedded Kafka does: a mirror that the user set up for jgo is asked too, and first.
    remotes = {**GlobalSettings.load().repositories}
    remotes.setdefault("central", MAVEN_CENTRAL_URL)
    folder = _folder().parent / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    context = MavenContext(repo_cache=folder, remote_repos=remotes, timeout=60)
    for number, (group, name, version) in enumerate(EXTRA, 1):
        told(f"downloading Kafka Streams (70 MB, once): {name}, {number} of {len(EXTRA)} jars")
        context.project(group, name).at_version(version).artifact().resolve()
