"""What commands print with ``--json``, checked against the schema of it."""

import json
from typing import Any

from jsonschema import Draft202012Validator

from tests.examples import SCHEMAS


def document(name: str, printed: str) -> Any:
    """Return what was printed, which fits ``schemas/commands/<name>.json``."""
    schema = json.loads((SCHEMAS / f"commands/{name}.json").read_text())
    found = json.loads(printed)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(found)
    return found
