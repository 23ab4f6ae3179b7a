"""Sends actions at given rates and notes when, by the machine's monotonic clock, each one was sent.

An open loop: an action is due when it is due, however slow the contender is. One that is sent late because
the machine was busy is timed from when it was due, so that waiting is not hidden.
"""

import json
import os
import signal
import sys
import time
from array import array

from confluent_kafka import Producer

from bench.workload import Workload


def main() -> None:
    """Send what the plan on the command line says: [[actions a second, seconds], …]; rate 0: all it can."""
    order = json.loads(sys.argv[1])
    order["workload"]["missing"] = tuple(tuple(one) for one in order["workload"]["missing"])
    work = Workload(**order["workload"])
    producer = Producer(
        {
            "bootstrap.servers": order["servers"],
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 100_000,
        }
    )
    topic, number = order["topic"], order["first"]
    producer.list_topics(topic)  # metadata, before the clock runs
    sent = array("q")
    phases = []
    going = True

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)  # what was sent until then is written
    for rate, seconds in order["plan"]:
        begin = time.monotonic_ns()
        end = begin + int(seconds * 1e9)
        first = number
        step = 1e9 / rate if rate else 0.0
        while True:
            if order["whom"] == "known" and work.is_missing(number):
                sent.append(0)  # is left out
                number += 1
                continue
            due = begin + int((number - first) * step) if rate else time.monotonic_ns()
            if due >= end or not going:
                break
            ahead = due - time.monotonic_ns()
            if ahead > 200_000:
                producer.poll(0)
                time.sleep(ahead / 1e9)
            while True:
                try:
                    producer.produce(topic, work.value(number), work.key(number))
                    break
                except BufferError:
                    producer.poll(0.01)
                    if not rate:
                        due = time.monotonic_ns()
            sent.append(due)
            number += 1
            if number % 64 == 0:
                producer.poll(0)
        phases.append({"rate": rate, "first": first, "after": number, "begin": begin, "end": end})
        producer.flush()
        time.sleep(0.3)
    with open(order["out"], "wb") as file:
        sent.tofile(file)
    with open(order["out"] + ".new", "w") as file:
        json.dump(phases, file)
    os.rename(order["out"] + ".new", order["out"] + ".json")


if __name__ == "__main__":
    main()
