"""kafkajs."""

import json
import os
import secrets
import subprocess
from base64 import b64decode
from pathlib import Path

from tests.contract.records import Seen
from tests.node import NODE, installed

HERE = Path(__file__).parent / "kafkajs"


def read(bootstrap_servers: str, topic: str, count: int) -> list[Seen]:
    """Read `count` records in a new group."""
    group = f"kafkajs-{secrets.token_hex(4)}"
    done = subprocess.run(
        [NODE, HERE / "read.js", bootstrap_servers, topic, group, str(count)],
        env=os.environ | {"NODE_PATH": str(installed(HERE))},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return [_seen(line) for line in done.stdout.splitlines()]


def _seen(line: bytes) -> Seen:
    record = json.loads(line)
    return Seen(
        record["partition"],
        record["offset"],
        None if record["key"] is None else b64decode(record["key"]),
        b64decode(record["value"]),
        tuple((name, b64decode(value)) for name, value in record["headers"]),
    )
