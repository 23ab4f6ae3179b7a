"""The demo's lookup service as a process of its own."""

import json
import re
import signal
import subprocess
import sys
import urllib.request


def test_it_answers_on_every_address_and_ends_at_sigterm() -> None:
    """The command answers questions, shows its behaviour, and SIGTERM ends it with code 0."""
    command = [sys.executable, "-m", "streams.sandbox.lookup_command"]
    options = ["--host", "0.0.0.0", "--port", "0", "--control-port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        service, control = re.findall(r"http://\S+", process.stdout.readline().replace(",", " "))
        with urllib.request.urlopen(control, timeout=5) as answer:
            assert answer.read() == b"healthy\n"
        question = urllib.request.Request(service, data=b'{"email":"a@example.org","contactRef":"r"}')
        with urllib.request.urlopen(question, timeout=5) as answer:
            assert isinstance(json.load(answer), dict)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
