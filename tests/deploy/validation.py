"""Every document against the schema of its kind: Kubernetes' own, strictly, ours for the operators'.

Ours hold only the fields that we use and allow no other, so a misspelt one is found, which the operators' own
definitions would let pass.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

SCHEMAS: dict[str, Any] = json.loads((Path(__file__).parent / "custom-kinds.json").read_text())


def name_of(document: dict[str, Any]) -> str:
    """Return ``kind/name``."""
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def problem(document: dict[str, Any]) -> str | None:
    """Return what is wrong with its form; a kind that no schema is known for is wrong."""
    kind = f"{document.get('apiVersion')}/{document.get('kind')}"
    if kind in SCHEMAS:
        schema = {
            "type": "object",
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "additionalProperties": False,
            "properties": {
                "apiVersion": True,
                "kind": True,
                "metadata": {"type": "object", "required": ["name"]},
                "spec": SCHEMAS[kind],
            },
        }
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(document))
        return f"{errors[0].json_path}: {errors[0].message}" if errors else None
    try:
        kubernetes_validate.validate(document, "1.37", strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        return f"no schema is known for {kind}"
    return None
