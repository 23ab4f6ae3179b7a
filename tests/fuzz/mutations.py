"""Records that somebody broke or bent, and good ones, from a seed."""

import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from streams.actions.rekeying import REKEYED_FROM, REKEYED_TIMESTAMP
from streams.sandbox.people import numbered
from tests.examples import invalid, valid

ACTIONS = [*valid("action").values(), *invalid("action").values()]
STATUSES = [*valid("supporter-status").values(), *invalid("supporter-status").values()]
REPLIES = [*valid("lookup-reply").values(), *invalid("lookup-reply").values()]
#: Bytes; a worker reads no more of a lookup's reply.
REPLY_MOST = 64 * 1024

_NOW = int(time.time() * 1000)
_DAY = 24 * 3600 * 1000
_TIMESTAMPS = [
    -1,
    0,
    1,
    -(2**63),
    2**63 - 1,
    _NOW // 1000,
    _NOW * 1000,
    _NOW + 400 * _DAY,
    253_402_300_800_000,
]
_TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#: Stands in a text for a number that Python's json does not write.
_NUMBER = '"number"'
_NUMBERS = [
    *("-0", "1e2", "1.0", "7E0", "1E400", "01", "+1", "-", "1.", ".5", "NaN", "-Infinity", "0x10", "1_000"),
    *("9" * 19, "-" + "9" * 400, "9" * 4_300, "9" * 4_301, "0." + "9" * 5_000),
]
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 7, 7.5, 10**30, 2**63, 2**64, -(2**63) - 1, [], {}, [[]], {"": {}}, "", " "),
    *("\ud800", "\udfff\ud800", "\0", "a\0b", "\ufeff", "\u2028", "\x85", "x" * 9_000, "\u00a0", "\u3000"),
    *("supporter_confirm", "supporter_confirm ", "deliver", "proca:event:2", "2026-02-30T00:00:00Z"),
    *("2099-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "٢٠٢٦", "true", "7"),
]
_NAMES = [
    "stage",
    "actionId",
    "orgId",
    "contact",
    "contactRef",
    "ref",
    "email",
    "schema",
    "subscribed",
    "asOf",
]
_INSERTS = [
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\\ud800", b"\\u0000", b'"', b"\\", b"{", b"]", b","),
    *(b"\xef\xbb\xbf", b"\x0b", b"\xe2\x80\xa8", b"//", b"NaN"),
]
_HEADER_NAMES = [
    *(
        b"traceparent",
        b"tracestate",
        b"variant",
        b"ce_id",
        b"content-type",
        b"",
        b"n\xe4me",
        b"\xff",
        b"\xed\xa0\x80",
    ),
    *(b"\0", b"x" * 300, "ä".encode(), b"__streams.errors.topic", b"__streams.errors.offset"),
    *(b"shortened-from", b"shortened-from-sha256", b"key-left-out-bytes", b"headers-left-out-bytes"),
    *(REKEYED_FROM.encode(), REKEYED_TIMESTAMP.encode()),
]
_HEADER_VALUES = [
    *(
        None,
        b"",
        b"0",
        b"\xff\xfe",
        b"\0",
        _TRACE,
        _TRACE[:-1],
        b"a=b",
        b"1" * 4_000,
        b"0/0",
        b"3/77",
        b"-5/-7",
    ),
    *(
        b"2147483648/0",
        b"0/9223372036854775808",
        b"00/1",
        b"1/2\n",
        b"-1",
        b"9" * 30,
        b"0/9223372036854775807",
    ),
]
_ENCODINGS = ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252"]


class Sent(NamedTuple):
    """A record as a producer writes it; a lone surrogate in a header's name is a byte that is not UTF-8."""

    timestamp: int  # milliseconds
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def good_action(number: int) -> Sent:
    """An action from which an email is due; its actionId is its number."""
    supporter = numbered(number)
    return Sent(_NOW, supporter.key, json.dumps(supporter.action(number)).encode(), [("traceparent", _TRACE)])


def good_status(number: int) -> Sent:
    """The status of a supporter with this number."""
    supporter = numbered(number)
    return Sent(_NOW, supporter.key, supporter.status(subscribed=number % 2 == 0), [])


def strange(dice: random.Random, examples: list[bytes]) -> Sent:
    """A record made from one of `examples`, with one to four faults in any of its parts."""
    value: bytes | None = dice.choice(examples)
    sent = Sent(_NOW, _right_key(value), value, [])
    for _ in range(dice.choice([1, 1, 1, 2, 3, 4])):
        sent = dice.choices(_BENDS, _WEIGHTS)[0](sent, dice)
    return sent


def strange_reply(dice: random.Random) -> bytes:
    """The body of a lookup's reply, bent, large or whole."""
    if dice.random() < 0.05:
        return b'{"action":{"customFields":{"x":"%b"}}}' % (b"x" * dice.randrange(REPLY_MOST))
    value: bytes | None = dice.choice(REPLIES)
    for _ in range(dice.choice([0, 0, 1, 2])):
        value = _bent(value, dice)
    return (value or b"")[:REPLY_MOST]


def _right_key(value: bytes | None) -> bytes | None:
    try:
        document = json.loads(value or b"")
        contact = document.get("contact", document)
        return f"{document['orgId']}:{contact['contactRef']}".encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return b"310:ref"


# -- the parts of a record -------------------------------------------------------------------------------


def _bend_timestamp(sent: Sent, dice: random.Random) -> Sent:
    return sent._replace(timestamp=dice.choice(_TIMESTAMPS))


def _bend_key(sent: Sent, dice: random.Random) -> Sent:
    others = [None, b"", b"\0", b"\xff\xfe", b"310:", numbered(dice.randrange(1_000)).key, b"k" * 70_000]
    return sent._replace(key=dice.choice(others))


def _bend_headers(sent: Sent, dice: random.Random) -> Sent:
    many = dice.choice([1, 1, 2, 3, 8]) if dice.random() < 0.99 else 5_000
    added = [
        (dice.choice(_HEADER_NAMES).decode("utf-8", "surrogateescape"), dice.choice(_HEADER_VALUES))
        for _ in range(many)
    ]
    return sent._replace(headers=sent.headers + added)


def _bend_size(sent: Sent, dice: random.Random) -> Sent:
    """Make a part as large as a topic takes, or so large that only a compressed record was taken."""
    size = dice.choices([20_000, 70_000, 1_048_588, 2_097_176, 3 << 20], [8, 8, 2, 1, 1])[0]
    size -= dice.randrange(1_200)
    match dice.randrange(4):
        case 0:
            return sent._replace(key=b"k" * size)
        case 1:
            return sent._replace(headers=[*sent.headers, ("traceparent", b"0" * size)])
        case 2:
            return sent._replace(value=(sent.value or b"{}") + b" " * size)
        case _:
            comment = b'{"comment":"%b",' % (b"x" * size)
            return sent._replace(value=comment + (sent.value or b"{}").lstrip()[1:])


def _bend_value(sent: Sent, dice: random.Random) -> Sent:
    return sent._replace(value=_bent(sent.value, dice))


_Bend = Callable[[Sent, random.Random], Sent]
_BENDS: list[_Bend] = [_bend_value, _bend_headers, _bend_key, _bend_timestamp, _bend_size]
_WEIGHTS = [60, 20, 10, 10, 0.5]


# -- values ----------------------------------------------------------------------------------------------


def _bent(value: bytes | None, dice: random.Random) -> bytes | None:
    if value is None:
        return value
    if dice.random() < 0.4:
        return _broken(value, dice)
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return _broken(value, dice)
    if not isinstance(document, dict):
        return _broken(value, dice)
    _change_field(document, dice)
    text = json.dumps(document, ensure_ascii=dice.random() < 0.5, indent=dice.choice([None, None, None, 1]))
    return text.replace(_NUMBER, dice.choice(_NUMBERS)).encode("utf-8", "surrogatepass")


def _change_field(document: dict[str, Any], dice: random.Random) -> None:
    """Change one field, mostly one that decides."""
    contact = document.get("contact")
    above = [document, document, *([contact] if isinstance(contact, dict) else []), *_objects(document)]
    place = dice.choice(above)
    named = [name for name in _NAMES if name in place]
    name = dice.choice(named if named and dice.random() < 0.8 else [*place, *_NAMES, ""])
    before = place.get(name)
    match dice.randrange(7):
        case 0:
            place.pop(name, None)
        case 1:
            place[name] = _NUMBER[1:-1]
        case 2:
            place[name] = [before]
        case 3 if isinstance(before, str):
            at = dice.randint(0, len(before))
            place[name] = (
                before[:at] + dice.choice(["\ud800", "\0", "\u200b", '"', "\\", "é" * 3]) + before[at:]
            )
        case 4:
            place[dice.choice([name.upper(), name + "\0", name[:-1], "Stage"])] = place.pop(name, None)
        case 5:
            place[name] = str(before) if not isinstance(before, str) else {"": before}
        case _:
            place[name] = dice.choice(_VALUES)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _objects(each)


def _broken(value: bytes, dice: random.Random) -> bytes | None:
    """Change bytes, whether it is JSON afterwards or not."""
    at = dice.randint(0, len(value))
    match dice.randrange(11):
        case 0:
            return value[:at]
        case 1:
            return value[:at] + bytes([dice.randrange(256)]) + value[at + 1 :]
        case 2:
            return value[:at] + dice.choice(_INSERTS) + value[at:]
        case 3:
            again = json.dumps({dice.choice(_NAMES): dice.choice(_VALUES)}).encode("utf-8", "surrogatepass")
            return value.rstrip()[:-1] + b"," + again[1:]  # a key twice: the last one counts
        case 4:
            depth = dice.choice([700, 748, 749, 750, 751, 990, 20_000])
            opened, closed = dice.choice([(b"[", b"]"), (b'{"a":', b"}")])
            return value.rstrip()[:-1] + b',"deep":' + opened * depth + b"1" + closed * depth + b"}"
        case 5:
            number = dice.choice(_NUMBERS).encode()
            return value.rstrip()[:-1] + b',"%b":%b}' % (dice.choice(_NAMES).encode(), number)
        case 6:
            try:
                return value.decode().encode(dice.choice(_ENCODINGS), "replace")
            except UnicodeDecodeError:
                return value[::-1]
        case 7:
            return value.replace(b'":', dice.choice([b'"\n:\t', b'"=', b'" :', b'"\0:']))
        case 8:
            return value.replace(b"contactRef", b"contact\\u0052ef").replace(b"stage", b"st\\u0061ge")
        case 9:
            return b'{"text":"%b",' % (b"[{" * dice.choice([10, 2_000])) + value.lstrip()[1:]
        case _:
            other = [
                None,
                b"",
                b"[]",
                b"7",
                b"null",
                b'"x"',
                b"{}",
                b"NaN",
                value * 2,
                value + b" x",
                b"[" * 70_000,
            ]
            return dice.choice(other)
