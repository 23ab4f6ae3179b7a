"""Every document against the schema of its kind: Kubernetes' own and the operators', strictly.

A misspelt field is found, which a cluster would drop without a word.
"""

import json
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate

from tests.deploy import operator_kinds


@cache
def _operators() -> dict[str, Any]:
    """The schemas of the operators' kinds."""
    schemas: dict[str, Any] = json.loads(operator_kinds.FILE.read_text())
    return schemas


def name_of(document: dict[str, Any]) -> str:
    """Return ``kind/name``."""
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def problem(document: dict[str, Any]) -> str | None:
    """Return what is wrong with its form; a kind that no schema is known for is wrong."""
    kind = f"{document.get('apiVersion')}/{document.get('kind')}"
    if kind in _operators():
        errors = list(jsonschema.Draft202012Validator(_operators()[kind]).iter_errors(document))
        return f"{errors[0].json_path}: {errors[0].message}" if errors else None
    try:
        kubernetes_validate.validate(document, "1.37", strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        return f"no schema is known for {kind}"
    return None
