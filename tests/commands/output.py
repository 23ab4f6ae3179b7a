"""What commands print, and with ``--json`` checked against the schema of it."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from streams.__main__ import main
from streams.commands.command_line import NO_ANSWER
from tests.examples import SCHEMAS

_TRIES = 5


def answered(words: Sequence[str], environ: Mapping[str, str]) -> Result:
    """Run a command in this process, with these settings alone, until Kafka answers it.

    On a busy machine the only broker may be out of its own cluster for a moment; in a row of many commands,
    one of them meets that.
    """
    unset = dict.fromkeys(name for name in os.environ if name.startswith("STREAMS_"))
    for _ in range(_TRIES):
        result = CliRunner().invoke(main, words, env={**unset, **environ}, prog_name="streams")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        if result.exit_code != NO_ANSWER:
            break
    return result


def document(name: str, printed: str) -> Any:
    """Return what was printed, which fits ``schemas/commands/<name>.json``."""
    schema = json.loads((SCHEMAS / f"commands/{name}.json").read_text())
    found = json.loads(printed)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(found)
    return found
