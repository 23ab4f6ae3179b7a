"""What goes to standard output and standard error can be written in any locale.

A character that the locale's encoding does not have would end a command with a traceback, perhaps after all
its work. It is replaced instead: punctuation by its like in ASCII, any other character by its escape, as in
Python (a backslash, u and four digits).
"""

import codecs
import io
import sys

_REPLACE = "streams.observability.output"
_ALIKE = {"…": "...", "→": "->", "–": "-", "—": "-", "−": "-", "×": "x", "✓": "*", "≥": ">=", "≤": "<="}
_SPINNER = dict(zip("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\|/-\\|/", strict=True))  # rich's, while something takes time
_TABLE = str.maketrans(_ALIKE | _SPINNER)


def write_in_any_locale() -> None:
    """Make standard output and error replace what they cannot encode. A process calls it before it writes."""
    codecs.register_error(_REPLACE, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a daemon may have none, a test its own
            stream.reconfigure(errors=_REPLACE)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)  # nothing is read from these streams
    alike = error.object[error.start : error.end].translate(_TABLE)
    return alike.encode("ascii", "backslashreplace").decode(), error.end
