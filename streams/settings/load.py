"""The settings that an environment gives, or everything that is wrong with them at once."""

import sys
from collections.abc import Mapping

from pydantic import ValidationError

from streams.settings.consistency import inconsistencies
from streams.settings.environment import Given, Known, collect
from streams.settings.table import Settings, SettingsError, describe, row_of
from streams.settings.values import MASK, without_secrets


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that ``environ`` gives, with defaults for the rest. An empty value counts as not given,
    but for the brokers, which somebody meant to name.

    Raises SettingsError with everything that is wrong: values out of range, names that are no setting,
    and values that contradict each other.
    """
    rows = zip(Settings.model_fields, describe(), strict=True)
    # Without brokers a worker would ask those of its own machine, and wait for ever.
    known = [
        Known(field, row.name, row.bare_name, row.secret, may_be_empty=field != "kafka_bootstrap_servers")
        for field, row in rows
    ]
    given, problems = collect(environ, known)
    wrong = {field for field, one in given.items() if not _is_text(field, one.text)}
    encoding = sys.getfilesystemencoding()
    problems += [
        f"{given[field].name} is not text in this locale's encoding, {encoding}"
        for field in given
        if field in wrong
    ]
    texts = {field: one.text for field, one in given.items() if field not in wrong}
    try:
        settings = Settings.model_validate(texts)
    except ValidationError as error:
        refused = {str(each["loc"][0]) for each in error.errors(include_url=False, include_context=False)}
        problems += [_wrong_value(field, given[field]) for field in Settings.model_fields if field in refused]
        # The rest is valid by itself, and may still contradict itself: say that in the same breath.
        settings = Settings.model_validate({field: texts[field] for field in texts.keys() - refused})
        wrong |= refused
    problems += [sentence for fields, sentence in inconsistencies(settings) if wrong.isdisjoint(fields)]
    if problems:
        raise SettingsError(problems)
    return settings


def _is_text(field: str, text: str) -> bool:
    if field.endswith(("_file", "_folder")):  # whose name may be of any bytes
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # Python keeps bytes that it cannot read as lone surrogates
        return False
    return True


def _wrong_value(field: str, given: Given) -> str:
    row = row_of(field)
    text = MASK if row.secret else without_secrets(given.text)
    shown = text if text.isprintable() else repr(text)
    return f"{given.name}={shown[:120]}: allowed is {row.allowed_with_unit}"
