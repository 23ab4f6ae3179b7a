"""What is fed: a pure function from a serial number to an action, its supporter, and the letter that is due.

The verdict knows the load and Kafka, and nothing of the app. A record is recognised by its serial, which
stands in a field that nobody reads, since an actionId may come again.
"""

from typing import NamedTuple

#: Supporters below this number are in the status topic before the first action.
KNOWN = 5_000
_STRANGERS = 400_000
_SERIAL = b'"serial":'


class Plan(NamedTuple):
    """What one serial stands for."""

    kind: str  # "email" is owed, "dead_letter" is owed, or "nothing" is
    supporter: int
    action_id: int


def plan(serial: int) -> Plan:
    """Return what the record with this serial is: in 1,000, two ask for nothing, and in 5,000 one is poison.

    One in fifty repeats an earlier action, as a reminder service does; nine in ten are of known supporters.
    """
    first = serial - 49 if serial % 50 == 49 else serial
    drawn = (first * 2_654_435_761) & 0xFFFFFFFF
    drawn ^= drawn >> 15
    drawn, chance = drawn >> 4, drawn % 10
    supporter = drawn % KNOWN if chance < 9 else KNOWN + drawn % _STRANGERS
    if serial % 5_000 == 4_998:
        return Plan("dead_letter", supporter, first)
    return Plan("nothing" if serial % 500 == 250 else "email", supporter, first)


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
