"""What is fed: a pure function from a serial number to an action, its supporter, and the letter that is due.

The verdict knows the load and Kafka, and nothing of the app. A record is recognised by its serial, which
stands in a field that nobody reads, since an actionId may come again.
"""

from random import Random
from typing import NamedTuple

#: Supporters below this number are in the status topic before the first action.
KNOWN = 5_000
_STRANGERS = 400_000
_SERIAL = b'"serial":'
_ASKS = b'{"serial":%d,"stage":"supporter_confirm",'
#: What no email can be made from, of ten kinds. Each has its serial where `serial_in` finds it.
POISON = (
    b'{"not JSON","serial":%d}',
    b'{"serial":%d,"not":"UTF-8 \xff"}',
    b'{"serial":%d,"too large for a guess"' + b" " * 200_000 + b"}",
    b'[{"serial":%d}]',
    _ASKS + b'"actionId":7}',
    _ASKS + b'"actionId":"7","orgId":310,"contact":{"contactRef":"r","email":"a@example.org"}}',
    _ASKS + b'"actionId":7,"orgId":310,"contact":{"contactRef":" ","email":"a@example.org"}}',
    _ASKS + b'"actionId":7,"orgId":310,"contact":{"contactRef":"\\ud800","email":"a@example.org"}}',
    _ASKS + b'"deep":' + b"[" * 800 + b"]" * 800 + b"}",
    _ASKS + b'"actionId":' + b"9" * 4_400 + b"}",
)
#: Headers and timestamps (milliseconds; None: now) that a producer may write, of poison and of good actions.
ODDITIES: tuple[tuple[list[tuple[str, bytes | None]], int | None], ...] = (
    ([], None),
    ([("traceparent", None), ("variant", b"\xff")], 1),
    ([("h", b"%d" % number) for number in range(300)], 0),
)


class Plan(NamedTuple):
    """What one serial stands for."""

    kind: str  # "email" is owed, "dead_letter" is owed, or "nothing" is
    supporter: int
    action_id: int


def plan(serial: int) -> Plan:
    """Return what the record with this serial is: in 1,000, two ask for nothing, and two are poison.

    One in fifty repeats an earlier action, as a reminder service does; nine in ten are of known supporters.
    """
    first = serial - 49 if serial % 50 == 49 else serial
    drawn = (first * 2_654_435_761) & 0xFFFFFFFF
    drawn ^= drawn >> 15
    drawn, chance = drawn >> 4, drawn % 10
    supporter = drawn % KNOWN if chance < 9 else KNOWN + drawn % _STRANGERS
    if serial % 500 == 498:
        return Plan("dead_letter", supporter, first)
    return Plan("nothing" if serial % 500 == 250 else "email", supporter, first)


def poison(serial: int) -> bytes:
    """Return the value of a record from which no email can be made, of a kind drawn from its serial."""
    return Random(serial).choice(POISON) % serial


def subscribed(supporter: int) -> bool:
    """Whether a supporter is a subscriber, in the status topic and for the CRM."""
    return supporter % 2 == 0


def serial_in(value: bytes) -> int:
    """Return the serial of an action, an email or a dead letter.

    Raises:
        ValueError: it has none; nobody fed it.
    """
    begin = value.index(_SERIAL) + len(_SERIAL)
    end = begin
    while value[end : end + 1].isdigit():
        end += 1
    return int(value[begin:end])
