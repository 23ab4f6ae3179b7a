"""What only images have, in one place: all else of the stack is the repository's or the machine's own.

Each entry says what its real image brings and a container of this machine lacks, under the image's own paths.
"""

import shlex
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from streams.sandbox.kafka.jars import cache_folder, classpath, kafka_folder
from streams.sandbox.kafka.java import find_java
from streams.sandbox.kafka.jvm import Jvm
from tests.contract.console_consumer import tools_jar
from tests.deploy.go_programs import built
from tests.deploy.kustomize import ROOT
from tests.deploy.stack.service import Image
from tests.tools import debian_tool

#: Services whose image nothing here stands for, with the reason.
ABSENT = {"grafana": "neither Debian nor a registry of packages has Grafana's server"}
#: The images that the Dockerfile does not make, with their own commands.
FOREIGN = {
    # Its user is 1000, who could not read the jars where they are kept for this machine's user alone.
    "apache/kafka": Image(entrypoint=("/etc/kafka/docker/run",)),
    "axllent/mailpit": Image(entrypoint=("/mailpit",)),
    "prom/prometheus": Image(
        entrypoint=("/bin/prometheus",),
        command=("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"),
        folder="/prometheus",
        user=65534,
    ),
}
_ENVIRONMENT = Path(sys.prefix).resolve()


@dataclass
class Content:
    """What a container has besides its lowest layer.

    Attributes:
        root: the lowest layer: the files of an image, or the machine's.
        files: text by path; all are programs.
        binds: source and target of what is mounted, to be read only.
        folders: the user's number by path of the folders that it may write to.
        environment: by name, besides what its real image has.
    """

    root: Path = Path("/")
    files: dict[str, str] = field(default_factory=dict)
    binds: list[tuple[Path, str]] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


@cache
def content(tag: str) -> Content:
    """Return what the image of this name and version has."""
    name, _, version = tag.rpartition(":")
    match name:
        case "apache/kafka":
            return _kafka()
        case "axllent/mailpit":
            return Content(binds=[(mailpit(version), "/mailpit")])
        case "prom/prometheus":
            # Its wget is busybox's.
            ask = "import sys, urllib.request\nurllib.request.urlopen(sys.argv[-1])\n"
            program = Path(debian_tool("prometheus")).resolve()
            files = {"/usr/local/bin/wget": f"#!{_ENVIRONMENT}/bin/python\n{ask}"}
            binds = [(program, "/bin/prometheus"), *_python()]
            return Content(files=files, binds=binds, folders={"/prometheus": 65534})
        case "confirmation-streams":
            return _ours("streams")
        case "confirmation-streams-mailer":
            made = _ours("mailer")
            made.binds.append((ROOT / "examples", "/opt/mailer-source/examples"))
            return made
    raise ValueError(f"nothing stands for the image {tag}")


def mailpit(version: str) -> Path:
    """Return Mailpit in the version of the image; the first call builds it.

    Raises:
        subprocess.CalledProcessError: it cannot be built.
    """
    return built("github.com/axllent/mailpit", version, cache_folder())


def _ours(name: str) -> Content:
    """The image's virtual environment is the tests' own, and the package stands beside it, not in it."""
    package = f"/opt/{name}-package"
    return Content(
        binds=[*_python(), (_ENVIRONMENT, f"/opt/{name}"), (ROOT / "streams", f"{package}/streams")],
        folders={"/var/lib/streams": 10001},
        environment={"PYTHONPATH": package},
    )


def _python() -> list[tuple[Path, str]]:
    """The virtual environment at its own place, which its programs name, and the interpreter of it."""
    return [(path, str(path)) for path in (_ENVIRONMENT, Path(sys.base_prefix).resolve())]


def _kafka() -> Content:
    """The image's scripts, as far as they are used, with the JVM options of the embedded Kafka.

    The real ``run`` calls the same two programs of Kafka's jars: KafkaDockerWrapper, which makes
    server.properties from the environment and formats the storage, and then Kafka.
    """
    java = find_java()
    jars = classpath()
    jvm = Jvm(java, [*jars, tools_jar()], "256m", ())
    options = Jvm(java, jars, "256m", ()).archive(kafka_folder()).options_to_use()

    def run(*program: str) -> str:
        return shlex.join(jvm.argv(options, *program))

    configuration = "/opt/kafka/config"
    setup = run(
        *("kafka.docker.KafkaDockerWrapper", "setup", "--default-configs-dir", "/etc/kafka/docker"),
        *("--mounted-configs-dir", "/mnt/shared/config", "--final-configs-dir", configuration),
    )
    defaults = ("server.properties", "log4j2.yaml", "tools-log4j2.yaml")
    return Content(
        files={
            "/etc/kafka/docker/run": (
                "#!/usr/bin/env bash\nset -e\n"
                "export CLUSTER_ID=${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}\n"
                f"said=$({setup} 2>&1) ||"
                ' grep -qi "already formatted" <<<"$said" || { echo "$said"; exit 1; }\n'
                f"exec {run('kafka.Kafka', f'{configuration}/server.properties')}\n"
            ),
            "/opt/kafka/bin/kafka-topics.sh": (
                f'#!/usr/bin/env bash\nexec {run("org.apache.kafka.tools.TopicCommand")} "$@"\n'
            ),
            **{f"/etc/kafka/docker/{name}": "{}\n" if name.endswith("yaml") else "" for name in defaults},
        },
        binds=[(path, str(path)) for path in (java.executable.resolve().parents[1], cache_folder())],
        folders=dict.fromkeys((configuration, "/var/lib/kafka/data"), 0),
    )
