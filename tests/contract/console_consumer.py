"""Java's client: the console consumer of Kafka's own tools.

Its jar is no part of a broker. It is fetched beside the embedded Kafka's jars, for the tests alone.
"""

import hashlib
import os
import subprocess
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from streams.sandbox.kafka.jars import KAFKA_VERSION, cache_folder, classpath
from streams.sandbox.kafka.java import find_java
from tests.contract.records import Seen

SHA256 = "62f3c5dd7aa3442d4c5bc6a95f86e2502178ea09de8e27f74d9563bf955e253c"
MAIN = "org.apache.kafka.tools.consumer.ConsoleConsumer"
#: JSON holds none of these, raw, so that records can be told apart whatever is in them.
LINE, FIELD, HEADER = "\x1e", "\x1f", "\x1d"


def tools_jar() -> Path:
    """Return kafka-tools' jar, downloaded (0.7 MB) if it is not in the cache; its hash is always checked."""
    folder = cache_folder() / f"test-tools-{KAFKA_VERSION}"
    jar = folder / "kafka-tools.jar"
    if not jar.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # As the embedded Kafka does: a mirror that the user set up for jgo is asked too, and first.
        remotes = {**GlobalSettings.load().repositories}
        remotes.setdefault("central", MAVEN_CENTRAL_URL)
        context = MavenContext(repo_cache=folder, remote_repos=remotes, timeout=60)
        project = context.project("org.apache.kafka", "kafka-tools")
        project.at_version(KAFKA_VERSION).artifact().resolve().replace(jar)
    found = hashlib.sha256(jar.read_bytes()).hexdigest()
    if found != SHA256:
        jar.unlink()
    assert found == SHA256, f"not the jar that was meant: {found}"
    return jar


def read(bootstrap_servers: str, topic: str, count: int) -> list[Seen]:
    """Read `count` records, as ``kafka-console-consumer.sh`` does with these options."""
    printed = [f"print.{what}=true" for what in ("partition", "offset", "headers", "key")]
    separators = [f"key.separator={FIELD}", f"line.separator={LINE}", f"headers.separator={HEADER}"]
    done = subprocess.run(
        [
            str(find_java().executable),
            *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-cp", os.pathsep.join(map(str, [tools_jar(), *classpath()])), MAIN),
            *("--bootstrap-server", bootstrap_servers, "--topic", topic, "--from-beginning"),
            *("--isolation-level", "read_committed"),
            *("--max-messages", str(count), "--timeout-ms", "30000"),
            *(option for each in (*printed, *separators) for option in ("--formatter-property", each)),
        ],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return [_seen(line) for line in done.stdout.split(LINE.encode()) if line]


def _seen(line: bytes) -> Seen:
    partition, offset, headers, key, value = line.split(FIELD.encode())
    pairs = (header.partition(b":") for header in headers.split(HEADER.encode()))
    return Seen(
        int(partition.removeprefix(b"Partition:")),
        int(offset.removeprefix(b"Offset:")),
        key,
        value,
        tuple((name.decode(), text) for name, _, text in pairs),
    )
