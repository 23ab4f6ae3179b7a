"""Standard output and error in an encoding that lacks most characters."""

import io
import sys

import pytest

from streams.observability.output import write_in_any_locale


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, and ü which it has", b"plain, and \xfc which it has"),
        ("Starting …", b"Starting ..."),
        ("a → b – c ≥ d", b"a -> b - c >= d"),
        ("⠋⠙⠹⠸", b"|/-\\"),
        ("Żółw", b"\\u017b\xf3\\u0142w"),
        ("\udcff and 😀", b"\\udcff and \\U0001f600"),
    ],
)
def test_what_the_encoding_lacks_is_replaced(
    text: str, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Punctuation and a spinner by their likes in ASCII, all else by an escape that loses nothing."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "iso-8859-1", write_through=True))
    write_in_any_locale()
    sys.stdout.write(text)
    assert written.getvalue() == expected


def test_a_process_without_standard_output_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon may have none, and a test one that is no file."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    write_in_any_locale()
