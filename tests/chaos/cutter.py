"""The cable between one worker and the brokers, a process of its own.

``python -m tests.chaos.cutter BOOTSTRAP_SERVERS`` writes its own bootstrap servers on standard output, obeys
the lines ``cut`` and ``heal`` on standard input, answering each, and ends when standard input does.
"""

import sys

from tests.faults.kafka_proxy import KafkaProxy


def _main() -> None:
    with KafkaProxy(sys.argv[1]) as proxy:
        print(proxy.bootstrap_servers, flush=True)  # noqa: T201 - the protocol with whoever started us
        for line in sys.stdin:
            {"cut": proxy.cut, "heal": proxy.heal}[line.strip()]()
            print("done", flush=True)  # noqa: T201 - the same


if __name__ == "__main__":
    _main()
