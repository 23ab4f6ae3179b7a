"""Reads emails as a mailer does, `read_committed`, and notes when each one was there, until SIGTERM."""

import json
import signal
import sys
import time
from array import array

import msgspec
from confluent_kafka import Consumer, TopicPartition


class _Email(msgspec.Struct):
    variant: str
    actionId: int


def main() -> None:
    """Write the moment of each action's first email (0: none), and its letter (1, 2; 9: it came again)."""
    order = json.loads(sys.argv[1])
    going = True

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": order["servers"],
            "group.id": "bench-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
        }
    )
    consumer.assign([TopicPartition(order["topic"], number, 0) for number in range(order["partitions"])])
    moments = array("q", bytes(8 * order["most"]))
    letters = bytearray(order["most"])
    read = msgspec.json.Decoder(_Email).decode
    while going:
        record = consumer.poll(0.1)
        if record is None or record.error() is not None:
            continue
        now = time.monotonic_ns()
        email = read(record.value())
        number = email.actionId
        if moments[number]:
            letters[number] = 9
        else:
            moments[number] = now
            letters[number] = 1 if email.variant == "one_button" else 2
    consumer.close()
    with open(order["out"], "wb") as file:
        moments.tofile(file)
    with open(order["out"] + ".letters", "wb") as file:
        file.write(letters)


if __name__ == "__main__":
    main()
