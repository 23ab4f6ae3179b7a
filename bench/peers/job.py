"""The job of every Python peer: decode, choose the letter, and write the action with it, in two ways."""

import os

import msgspec
import orjson

SERVERS = os.environ["BENCH_SERVERS"]
GROUP = os.environ["BENCH_GROUP"]
ACTIONS = os.environ["BENCH_ACTIONS"]
STATUSES = os.environ["BENCH_STATUSES"]
EMAILS = os.environ["BENCH_EMAILS"]
FOLDER = os.environ["BENCH_FOLDER"]
TRICK = os.environ["BENCH_TRICK"]
WEB_PORT = int(os.environ["BENCH_WEB_PORT"])


class Contact(msgspec.Struct):
    """Of an action: what decides."""

    email: str
    contactRef: str = ""
    ref: str = ""  # its name in actions of the first version


class Action(msgspec.Struct):
    """An action: what decides."""

    stage: str
    actionId: int
    orgId: int
    contact: Contact


class Status(msgspec.Struct):
    """A status: what decides."""

    subscribed: bool


decode = msgspec.json.Decoder(Action).decode
read_status = msgspec.json.Decoder(Status).decode


def parse(value: bytes, subscribed: bool | None) -> bytes:
    """As one writes it first: everything becomes objects, and text again."""
    action = orjson.loads(value)
    action["variant"] = "one_button" if subscribed else "two_button"
    return orjson.dumps(action)


def splice(value: bytes, subscribed: bool | None) -> bytes:
    """As this app does it: only what decides is decoded, and the variant put before the rest."""
    decode(value)
    head = b'{"variant":"one_button",' if subscribed else b'{"variant":"two_button",'
    return head + value[1:]


write = {"parse": parse, "splice": splice}[TRICK]
