"""The examples of ``schemas/examples`` as the bytes they are, and what is expected of each."""

import json
import tomllib
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).parent.parent / "schemas"
EXAMPLES = SCHEMAS / "examples"


def schema_names() -> list[str]:
    return sorted(path.stem for path in SCHEMAS.glob("*.json"))


def valid(name: str) -> dict[str, bytes]:
    return _files(EXAMPLES / name)


def invalid(name: str) -> dict[str, bytes]:
    return _files(EXAMPLES / name / "invalid")


def expected(folder: str) -> dict[str, Any]:
    return tomllib.loads((EXAMPLES / folder / "expected.toml").read_text())


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_bytes())
    return document


def _files(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.json"))}
