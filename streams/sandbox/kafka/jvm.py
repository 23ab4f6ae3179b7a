"""The command line of a JVM that runs one of Kafka's programs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.sandbox.kafka.archive import ClassArchive
from streams.sandbox.kafka.java import JavaRuntime

_OPTIONS = (
    # The first compiler only: the second one's threads take half of a small machine for the first minute. A
    # broker on two cores took 25 % more records a second without it, with less CPU time, over 15 s of load.
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)


@dataclass(frozen=True, slots=True)
class Jvm:
    """What every JVM of one cluster has in common.

    Attributes:
        java: the runtime.
        jars: the class path.
        heap: -Xmx.
        options: the caller's, last, so that they win.
    """

    java: JavaRuntime
    jars: Sequence[Path]
    heap: str
    options: Sequence[str]

    def argv(self, archiving: Sequence[str], *program: str) -> list[str]:
        """The whole command: `archiving` from `ClassArchive`, `program` the main class and its arguments."""
        # The JVM refuses two collectors, so ours gives way to the caller's.
        collector_chosen = any(re.fullmatch(r"-XX:\+Use\w+GC", option) for option in self.options)
        return [
            str(self.java.executable),
            f"-Xmx{self.heap}",
            *([] if collector_chosen else ["-XX:+UseSerialGC"]),
            *_OPTIONS,
            *archiving,
            *self.options,
            "-cp",
            ":".join(map(str, self.jars)),
            *program,
        ]

    def archive(self, folder: Path) -> ClassArchive:
        """The class archive for this runtime in the folder of the jars."""
        return ClassArchive(folder, self.java)
