"""Becomes one container: ``python -I -S container.py FILE``, as root and process 1 of new namespaces.

The root file system is an overlay on an image's, or on the machine's: what is written stays in memory, and
goes with the container. The program is then replaced by the service's, which so is process 1 itself, whatever
compose's ``init`` says: without a first process that hands signals on, as on Kubernetes.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_CAPBSET_DROP = 24  # linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES = 64  # more than any kernel has: to drop one that it does not have fails, and changes nothing


def _mount(*options: str | Path) -> None:
    subprocess.run(["mount", *map(str, options)], check=True)


def _inner(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _overlay(lowest: str, layers: Path) -> Path:
    """Mount the overlay, and return its root."""
    _mount("-t", "tmpfs", "tmpfs", layers)
    upper, work, root = (layers / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
    options = f"lowerdir={lowest},upperdir={upper},workdir={work}"
    _mount("-t", "overlay", "overlay", "-o", options, root)
    return root


def _bind(root: Path, source: str, target: str, *, read_only: bool) -> None:
    place = _inner(root, target)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _mount("--bind", source, place)
    if read_only:
        _mount("-o", "remount,bind,ro", place)
    # Anybody may pass through the folders above it, as in an image: here root's own may be among them.
    for above in place.relative_to(root).parents:
        passed = root / above
        passed.chmod(passed.stat().st_mode | 0o111)


def _lay_out(root: Path, given: dict[str, Any]) -> None:
    for path, owner in given["folders"].items():
        folder = _inner(root, path)
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, owner, owner)
    for path, text in given["files"].items():
        file = _inner(root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    for path in given["memory"]:
        _inner(root, path).mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", _inner(root, path))
    # After these: the virtual environment of this checkout may lie in /tmp.
    for source, target, read_only in given["binds"]:
        _bind(root, source, target, read_only=read_only)
    _mount("--rbind", "/dev", root / "dev")
    _mount("-t", "proc", "proc", root / "proc")
    if given["read_only"]:
        _mount("-o", "remount,bind,ro", root)


def _give_up_rights(user: int) -> None:
    """Keep no capability, and no way to get one: what compose takes from our images alone, none here has."""
    prctl = ctypes.CDLL(None).prctl
    for number in range(_CAPABILITIES):
        prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def main(file: str) -> None:
    """Make the container that the file describes, and run its command in it."""
    given = json.loads(Path(file).read_text())
    root = _overlay(given["lowest"], Path(given["layers"]))
    _lay_out(root, given)
    os.chroot(root)
    os.chdir(given["folder"])
    _give_up_rights(given["user"])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a program would inherit that
    argv = given["argv"]
    os.execvpe(argv[0], argv, given["environment"])


if __name__ == "__main__":
    main(sys.argv[1])
