"""The lookup service of a scenario: everybody is subscribed; at /slow the answer takes so many seconds."""

import signal
import sys

from streams.sandbox.lookup_service import LookupService, subscribed


def main() -> None:
    """Serve on the port, with the seconds, of the command line, until SIGTERM."""
    ends = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before its thread starts, which inherits this
    with LookupService(subscribed, port=int(sys.argv[1]), slow=float(sys.argv[2])):
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
