"""JSON that every reader of an email can read, and what is wrong with the rest.

An action is copied into its email as it is, so nothing may be let through on which a reader breaks: neither
what RFC 8259 does not call JSON, nor what exceeds the limits that it allows readers to have (section 9).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from enum import StrEnum
from itertools import accumulate
from typing import Any, NoReturn

MAX_DEPTH = 750
"""Objects and arrays within each other. Python's ``json`` takes 1,000, less the stack it is called from."""

MAX_DIGITS = 4300
"""Of an integer: beyond this, Python's ``json`` raises (``sys.int_info.default_max_str_digits``)."""

SURELY_PLAIN = 2 * MAX_DEPTH
"""Bytes: no shorter text can exceed either limit, so the usual action is not searched for it."""


class ErrorClass(StrEnum):
    """Why no email can be made from a record: a closed set, since it is a metric label."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"  # more than MAX_DEPTH levels
    NUMBER_TOO_LONG = "number_too_long"  # an integer of more than MAX_DIGITS digits
    NOT_AN_OBJECT = "not_an_object"
    FIELD_MISSING = "field_missing"
    FIELD_TYPE = "field_type"
    FIELD_EMPTY = "field_empty"  # or blank
    EMAIL_ENCRYPTED = "email_encrypted"  # the address is null, and personal data beside it is encrypted
    FIELD_VALUE = "field_value"  # of the right type, but not what the contract allows
    DUPLICATE_KEY = "duplicate_key"  # of a field where the last one winning would be a guess
    KEY_MISMATCH = "key_mismatch"  # the record's key says something else than its value
    IN_FUTURE = "in_future"  # a time more than a day ahead
    TOO_LARGE = "too_large"  # the email would exceed what its topic takes
    REFUSED = "refused"  # the broker takes neither the email nor the re-keyed action as it is
    INTERNAL_ERROR = "internal_error"  # our own code failed
    UNREADABLE = "unreadable"  # its batch is damaged, or would take too much memory: nobody can read it


class Undecodable(ValueError):
    """A message that cannot be read. Carries an error class and a JSON path, never the message's content.

    The text of the decoder's own exception may quote the input, and with it an address: it is not kept.
    """

    def __init__(self, error_class: ErrorClass, json_path: str = "$") -> None:
        super().__init__(f"{error_class} at {json_path}")
        self.error_class = error_class
        self.json_path = json_path


class Repeated(dict[str, Any]):
    """An object in which keys occur more than once; of each, the last one is kept."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.keys_repeated = {name for name, count in Counter(name for name, _ in pairs).items() if count > 1}


def parse(value: bytes) -> Any:
    """Parse JSON with Python's own parser, which tells more than a fast one: objects with repeated keys are
    :class:`Repeated`, and escapes of lone surrogates (JSON by its grammar) are kept.

    Raises:
        Undecodable: not UTF-8, not JSON, or beyond a limit of this module; always at ``$``.
    """
    error_class = None
    try:
        parsed = _decode(str(value, "utf-8"))
    except UnicodeDecodeError:
        error_class = ErrorClass.NOT_UTF8
    except (json.JSONDecodeError, _NotANumber):
        error_class = ErrorClass.NOT_JSON
    except ValueError:
        error_class = ErrorClass.NUMBER_TOO_LONG
    except RecursionError:
        error_class = ErrorClass.TOO_DEEP
    if error_class is not None:
        # Raised out here, it has no __context__: a JSONDecodeError carries the whole document.
        raise Undecodable(error_class)
    if _exceeds_depth(value):
        raise Undecodable(ErrorClass.TOO_DEEP)
    return parsed


def check_limits(value: bytes) -> None:
    """Check well-formed JSON against the limits of this module. Not needed up to ``SURELY_PLAIN`` bytes.

    Raises:
        Undecodable: ``too_deep`` or ``number_too_long``.
    """
    if _exceeds_depth(value):
        raise Undecodable(ErrorClass.TOO_DEEP)
    if len(value) > MAX_DIGITS and _TOO_MANY_DIGITS in value.translate(_DIGITS_TO_ZERO):
        parse(value)  # it tells an integer from digits in a text


_TOO_MANY_DIGITS = b"0" * (MAX_DIGITS + 1)
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def _exceeds_depth(value: bytes) -> bool:
    if value.count(b"[") + value.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", value).translate(None, _NO_BRACKETS)
    if len(brackets) <= 2 * MAX_DEPTH:
        return False
    return max(accumulate(map(_STEPS.__getitem__, brackets))) > MAX_DEPTH


class _NotANumber(ValueError):
    """NaN, Infinity and -Infinity, which are not JSON although Python's ``json`` reads them."""


def _refuse_constant(_: str) -> NoReturn:
    raise _NotANumber


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    return parsed if len(parsed) == len(pairs) else Repeated(pairs)


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant).decode
