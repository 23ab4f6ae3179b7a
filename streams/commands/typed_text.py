"""A text on the command line as it was typed, also in a locale whose encoding cannot read it."""

import os
from typing import Any

import click


class TypedText(click.ParamType):
    """A text that is not blank. Bytes that the locale does not know are read as UTF-8, as terminals send."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; fails for one that is blank, or neither in the locale's encoding nor in UTF-8."""
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:  # Python keeps such bytes as lone surrogates
            try:
                text = os.fsencode(text).decode()
            except UnicodeDecodeError:
                self.fail("it is not UTF-8 text", param, ctx)
        if not text.strip():
            self.fail("it is empty", param, ctx)
        return text
