"""Start a JVM in half the time: an archive of the classes that Kafka loads, made once.

Loading, verifying and linking classes is most of what a broker does in its first two seconds. The JVM can
write what it has loaded into a file when it ends, and map that file at its next start: dynamic class data
sharing (JEP 350) and, from Java 25, the AOT cache made in one step (JEP 514). The JVM itself refuses an
archive that does not fit its build or its class path, and goes on without.

The first one-broker cluster writes the archive when it stops (3 to 6 s, once); everybody after it gains.
"""

import hashlib
import os
from pathlib import Path

from streams.sandbox.kafka.java import JavaRuntime

_AOT_CACHE_OUTPUT_SINCE = 25


class ClassArchive:
    """The archive for one Java runtime; it lives and dies with the jars that it was made from."""

    def __init__(self, folder: Path, java: JavaRuntime) -> None:
        """Name the archive in this folder of jars; nothing is written yet."""
        which = hashlib.sha256(os.fsencode(java.executable.resolve())).hexdigest()[:8]
        self.file = folder / f"classes-{java.version}-{which}.archive"
        self._aot = java.major >= _AOT_CACHE_OUTPUT_SINCE

    def options_to_use(self) -> list[str]:
        """JVM options for a start with the archive; none while there is no archive."""
        if not self.file.exists():
            return []
        return [f"-XX:AOTCache={self.file}" if self._aot else f"-XX:SharedArchiveFile={self.file}"]

    def file_to_write(self) -> Path | None:
        """Where this process's broker may write an archive, to be renamed when whole; None: it need not."""
        if self.file.exists() or not os.access(self.file.parent, os.W_OK):
            return None
        return self.file.with_name(f"{self.file.name}.{os.getpid()}")

    def options_to_write(self, target: Path) -> list[str]:
        """JVM options for a run that ends by writing the archive to `target`."""
        return [f"-XX:AOTCacheOutput={target}" if self._aot else f"-XX:ArchiveClassesAtExit={target}"]
