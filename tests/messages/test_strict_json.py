import contextlib
import json
import math
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.messages.strict_json import (
    MAX_DEPTH,
    MAX_DIGITS,
    SURELY_PLAIN,
    ErrorClass,
    Repeated,
    Undecodable,
    check_limits,
    parse,
)


def refusal(value: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        parse(value)
    assert caught.value.json_path == "$"
    return caught.value.error_class


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * levels + closing * levels


@pytest.mark.parametrize(
    ("value", "error_class"),
    [
        (b'"\xff"', ErrorClass.NOT_UTF8),
        (b'"\xed\xa0\x80"', ErrorClass.NOT_UTF8),  # a surrogate's own three bytes
        (b'"\xc0\xaf"', ErrorClass.NOT_UTF8),  # an overlong slash
        ('{"a":1}'.encode("utf-16"), ErrorClass.NOT_UTF8),
        ('{"a":1}'.encode("utf-16-le"), ErrorClass.NOT_JSON),
        (b"\xef\xbb\xbf{}", ErrorClass.NOT_JSON),
        (b"[NaN]", ErrorClass.NOT_JSON),
        (b"[Infinity]", ErrorClass.NOT_JSON),
        (b"[-Infinity]", ErrorClass.NOT_JSON),
        (b"[01]", ErrorClass.NOT_JSON),
        (b"", ErrorClass.NOT_JSON),
        (nested(10_000), ErrorClass.TOO_DEEP),
        (nested(10_000, b'{"a":', b"}").replace(b":}", b":1}", 1), ErrorClass.TOO_DEEP),
        (b"[" * 10_000, ErrorClass.TOO_DEEP),
        (b"1" * (MAX_DIGITS + 1), ErrorClass.NUMBER_TOO_LONG),
        (b"-" + b"1" * (MAX_DIGITS + 1), ErrorClass.NUMBER_TOO_LONG),
    ],
)
def test_what_a_reader_cannot_read_is_refused_by_its_kind(value: bytes, error_class: ErrorClass) -> None:
    """Everything that is not strict JSON within the limits is refused with its own class."""
    assert refusal(value) == error_class


def test_the_limits_are_exact() -> None:
    """The greatest depth and the longest integer are read; one more is not."""
    assert parse(nested(MAX_DEPTH)) is not None
    assert refusal(nested(MAX_DEPTH + 1)) == ErrorClass.TOO_DEEP
    assert parse(b"1" * MAX_DIGITS) > 0
    assert parse(b"1" * (MAX_DIGITS + 1) + b"e5") == math.inf  # only an integer's digits are limited


def test_no_text_up_to_surely_plain_bytes_can_exceed_a_limit() -> None:
    """The shortest texts beyond a limit are longer than those that are not checked."""
    assert len(nested(MAX_DEPTH + 1)) > SURELY_PLAIN
    assert MAX_DIGITS + 1 > SURELY_PLAIN


@pytest.mark.parametrize("pad", [b"", b" " * 5_000])
def test_check_limits_refuses_what_parse_refuses(pad: bytes) -> None:
    """The check for JSON that another parser has accepted comes to the same result."""
    with pytest.raises(Undecodable, match="too_deep"):
        check_limits(nested(MAX_DEPTH + 1) + pad)
    with pytest.raises(Undecodable, match="number_too_long"):
        check_limits(b"[" + b"7" * (MAX_DIGITS + 1) + b"]" + pad)
    check_limits(nested(MAX_DEPTH) + pad)
    check_limits(b"[" + b"7" * MAX_DIGITS + b"]" + pad)


@pytest.mark.parametrize(
    "text", ["[" * 5_000, "{[" * 5_000, '\\"[' * 5_000, "[\\\\" * 5_000, "12345" * 2_000, "0" * 10_000]
)
def test_brackets_and_digits_inside_a_text_do_not_count(text: str) -> None:
    """What a supporter types into a comment is no nesting and no number."""
    value = json.dumps({"comment": text, "after": [[]]}).encode()
    check_limits(value)
    assert parse(value)["comment"] == text


def test_many_objects_side_by_side_are_not_deep() -> None:
    """Depth counts levels, not brackets."""
    check_limits(b"[" + b",".join([b'{"a":[]}'] * 10_000) + b"]")


def test_repeated_keys_are_told_and_the_last_one_is_kept() -> None:
    """An object with repeated keys is an ordinary dict that names them."""
    parsed = parse(b'{"a":1,"b":2,"a":3,"c":{"d":1}}')
    assert isinstance(parsed, Repeated)
    assert parsed == {"a": 3, "b": 2, "c": {"d": 1}}
    assert parsed.keys_repeated == {"a"}
    assert type(parsed["c"]) is dict


def test_a_lone_surrogate_is_kept() -> None:
    """The grammar of JSON allows the escape, and other readers keep it too."""
    assert parse(b'"\\ud800"') == "\ud800"


@pytest.mark.parametrize(
    "value", [b'["ana@example.org"', b'"ana@example.org\xff"', b'["ana@example.org",NaN]']
)
def test_an_undecodable_leads_to_no_content(value: bytes) -> None:
    """Neither the refusal, nor its traceback, nor any exception behind it quotes the input."""
    with pytest.raises(Undecodable) as caught:
        parse(value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "ana@" not in "".join(traceback.format_exception(caught.value))


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(value: bytes) -> None:
    """Nothing but a value or an Undecodable comes of arbitrary bytes."""
    with contextlib.suppress(Undecodable):
        parsed = parse(value)
        assert json.loads(value) == parsed
