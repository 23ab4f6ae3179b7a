"""Peers in Java: their jars from Maven Central, their sources compiled once; both are kept."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from streams.sandbox.kafka.errors import EmbeddedKafkaError
from streams.sandbox.kafka.jars import KAFKA_VERSION, LOGGING, cache_folder
from streams.sandbox.kafka.java import find_java

FLINK_VERSION = "2.2.1"
_SOURCES = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class JavaPeer:
    """A peer, and what it runs on.

    Attributes:
        name: of its folder in the cache, with a version.
        title: for people.
        megabytes: that are downloaded, about.
        source: the class with its `main`; `Job` is compiled beside it.
        needs: Maven coordinates; what these need themselves comes with them, the first version of each.
        options: of its virtual machine.
    """

    name: str
    title: str
    megabytes: int
    source: str
    needs: tuple[str, ...]
    options: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """The peer's command line, once `absent` has returned None."""
        return [
            str(find_java().executable),
            "-Xmx1g",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *self.options,
            "-cp",
            self.path(self.classes),
            self.source,
        ]

    def absent(self, told: Callable[[str], None]) -> str | None:
        """Fetch and compile what is not there yet; return why that was not possible."""
        if (self.classes / f"{self.source}.class").exists():
            return None
        javac = shutil.which("javac")
        if javac is None:
            return "no Java compiler (javac) on the PATH"
        try:
            if not self._listed.exists():
                self._download(told)
            told(f"compiling the {self.title} peer")
            self.classes.mkdir(parents=True, exist_ok=True)
            subprocess.run(  # noqa: S603 - the user's compiler, our source
                [javac, "-nowarn", "-cp", self.path(), "-d", self.classes, *self._sources],
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

    @property
    def _sources(self) -> list[Path]:
        return [_SOURCES / f"{name}.java" for name in ("Job", self.source)]

    @property
    def _folder(self) -> Path:
        return cache_folder() / f"bench-{self.name}"

    @property
    def _listed(self) -> Path:
        """The jars in the order of the class path; written when all of them are there."""
        return self._folder / "classpath.txt"

    @property
    def classes(self) -> Path:
        """Where what is compiled of these very sources is kept."""
        which = hashlib.sha256(b"".join(source.read_bytes() for source in self._sources))
        return self._folder / which.hexdigest()[:12]

    def path(self, *first: Path) -> str:
        """The class path: these, and then the jars."""
        jars = self._listed.read_text(encoding="utf-8").splitlines()
        return os.pathsep.join(map(str, [*first, *(self._folder / jar for jar in jars)]))

    def _download(self, told: Callable[[str], None]) -> None:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
        from jgo.parse import Coordinate

        # As the embedded Kafka does: a mirror that the user set up for jgo is asked too, and first.
        remotes = {**GlobalSettings.load().repositories}
        remotes.setdefault("central", MAVEN_CENTRAL_URL)
        folder = self._folder / "jars"
        folder.mkdir(parents=True, exist_ok=True)
        context = MavenContext(repo_cache=folder, remote_repos=remotes, timeout=60)
        artifacts = {}
        told(f"resolving what {self.title} needs")
        for need in self.needs:  # one by one: in one request jgo lets them change each other's versions
            wanted = context.create_dependency(replace(Coordinate.parse(need), scope="compile"))
            inputs, others = context.resolver.resolve([wanted])
            for found in (*inputs, *others):
                if found.scope in ("compile", "runtime"):
                    artifact = found.artifact
                    artifacts.setdefault((artifact.groupId, artifact.artifactId), artifact)
        jars = []
        for number, artifact in enumerate(artifacts.values(), 1):
            told(
                f"downloading {self.title} ({self.megabytes} MB, once): {artifact.artifactId},"
                f" {number} of {len(artifacts)} jars"
            )
            jars.append(str(artifact.resolve().relative_to(self._folder)))
        self._listed.write_text("\n".join(jars) + "\n", encoding="utf-8")


KAFKA_STREAMS = JavaPeer(
    f"kafka-streams-{KAFKA_VERSION}",
    "Kafka Streams",
    95,
    "KafkaStreamsPeer",
    (f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}", LOGGING),
)
FLINK = JavaPeer(
    f"flink-{FLINK_VERSION}",
    "Flink",
    85,
    "FlinkPeer",
    (
        f"org.apache.flink:flink-clients:{FLINK_VERSION}",
        "org.apache.flink:flink-connector-kafka:5.0.0-2.2",
        f"org.apache.flink:flink-connector-base:{FLINK_VERSION}",
        LOGGING,
    ),
    # It looks into the JDK by reflection. A refused connection is a failure, without a second try.
    (
        *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.lang", "java.util", "java.time")),
        "-Djdk.httpclient.disableRetryConnect=true",
    ),
)
