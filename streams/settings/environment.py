"""Which settings the environment gives: by name, by bare name, or, secrets, by the name of a file.

``STREAMS_X_FILE`` names a file with the value of the secret ``STREAMS_X``, as Docker and Kubernetes mount
them. It is read once, at the start: a rotated secret is taken by a restart.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from streams.settings.invocation import invocation
from streams.settings.values import MASK

PREFIX = "STREAMS_"
_FILE = "_FILE"

# What Kubernetes injects into every pod of a namespace that has a Service called "streams" or "streams-…"
# (documented under "Environment variables" of its Service concept, including the Docker-link style).
_KUBERNETES_NAME = re.compile(
    r"STREAMS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)"
)
_KUBERNETES_PORT = re.compile(r"STREAMS_(\w+_)?PORT")
_KUBERNETES_PORT_VALUE = re.compile(r"(tcp|udp|sctp)://\S+")


class Given(NamedTuple):
    """A setting as the environment has it."""

    name: str  # of the variable
    text: str


class Known(NamedTuple):
    """What a setting may be called."""

    field: str
    name: str
    bare_name: str  # "" if it has none
    secret: bool
    may_be_empty: bool = True  # an empty value counts as not given


def collect(environ: Mapping[str, str], known: Collection[Known]) -> tuple[dict[str, Given], list[str]]:
    """What ``environ`` gives, by field, and one sentence for each name or file that is wrong.

    An empty value counts as not given, unless the default would then be taken for what was meant.
    """
    fields: dict[str, str] = {}
    files: dict[str, str] = {}
    for each in known:
        for name in filter(None, (each.name, each.bare_name)):
            fields[name] = each.field
            if each.secret:
                files[name + _FILE] = each.field
    never_empty = {each.name for each in known if not each.may_be_empty}
    given: dict[str, Given] = {}
    problems = []
    for name, text in sorted(environ.items()):
        if _injected_by_kubernetes(name, text):
            continue
        field = fields.get(name) or files.get(name)
        if field is None:
            if name.startswith(PREFIX):
                problems.append(_unknown(name, [*fields, *files]))
            continue
        if not text:
            if name in never_empty:
                problems.append(f"{name} is empty: give it a value, or leave it out for its default")
            continue
        if name in files:
            try:
                text = _content(text)
            except ValueError as error:
                # The value may be the secret itself, given in the place of a file's name.
                problems.append(f"{name}={MASK}: {error}")
                continue
        if field in given and given[field].text != text:
            problems.append(f"{given[field].name} and {name} are the same setting with two values")
        else:
            given.setdefault(field, Given(name, text))
    return given, problems


def _content(path: str) -> str:
    """Read a mounted secret; one line break at its end is the editor's, not the secret's."""
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError("is empty")
    return text


def _injected_by_kubernetes(name: str, text: str) -> bool:
    if _KUBERNETES_NAME.fullmatch(name):
        return True
    # A Service called "streams-web" makes the name of a real setting, so here the value decides.
    return bool(_KUBERNETES_PORT.fullmatch(name) and _KUBERNETES_PORT_VALUE.fullmatch(text))


def _unknown(name: str, known: list[str]) -> str:
    # Its value is not shown: a mistyped name may hold a password.
    ours = [each for each in known if each.startswith(PREFIX)]
    near = get_close_matches(name, ours, n=1, cutoff=0.75)
    advice = f"did you mean {near[0]}?" if near else f"`{invocation()} settings` lists them all"
    return f"{name} is no setting: {advice}"
