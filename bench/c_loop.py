"""The C loop on librdkafka: compiled once against the library that the package confluent-kafka brings."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import confluent_kafka

from streams.sandbox.kafka.jars import cache_folder

SOURCE = Path(__file__).parent / "peers" / "librdkafka_loop.c"


def _library() -> Path | None:
    """The wheel's library; None where the package was built against the system's."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    return next(iter(sorted(folder.glob("librdkafka-*.so*"))), None)


def _program() -> Path:
    which = hashlib.sha256(SOURCE.read_bytes() + str(_library()).encode()).hexdigest()[:12]
    return cache_folder() / f"bench-librdkafka-{which}" / "loop"


def command() -> list[str]:
    """Its command line, once `absent` has returned None."""
    return [str(_program())]


def absent(told: Callable[[str], None]) -> str | None:
    """Compile it if it is not there; return why that was not possible. Downloads nothing."""
    program, library, compiler = _program(), _library(), shutil.which("cc")
    if program.exists():
        return None
    if library is None:
        return "confluent-kafka has no library of its own here"
    if compiler is None:
        return "no C compiler (cc) on the PATH"
    told("compiling the C loop")
    new = program.with_suffix(".new")
    linked = [str(library), f"-Wl,-rpath,{library.parent}", "-Wl,--allow-shlib-undefined", "-lpthread"]
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(  # noqa: S603 - the user's compiler, our source
            [compiler, "-O2", "-Wall", "-o", str(new), str(SOURCE), *linked],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        new.replace(program)
    except subprocess.CalledProcessError as error:
        return f"it does not compile: {error.stderr.strip()[:400]}"
    except (OSError, subprocess.SubprocessError) as error:
        return f"it cannot be compiled ({type(error).__name__})"
    return None
