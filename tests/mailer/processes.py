"""The mailer as a process, and the server that it sends its letters to."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any, Self
from weakref import finalize

from aiosmtpd.controller import Controller

from streams.sandbox.ports import HeldPort


class Mailbox:
    """An SMTP server; `answers` holds what it says to RCPT, by local part, one after the other.

    A `with` statement starts it, and stops it in the end.
    """

    def __init__(self, **options: Any) -> None:
        """Take options of aiosmtpd's: of its SMTP class, or of its controller (``ssl_context``)."""
        held = HeldPort()  # nobody else is given it while no server listens
        finalize(self, held.release)
        self.port = held.number
        self._options = options
        self.letters: list[Message] = []
        self.answers: dict[str, list[str]] = {}
        self._controller: Controller | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **self._options)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if answers := self.answers.get(address.partition("@")[0]):
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.letters.append(message_from_bytes(envelope.content))
        return "250 OK"

    def received(self) -> Counter[str]:
        return Counter(str(letter["To"]) for letter in self.letters)


class MailerProcess:
    """A mailer in a process of its own. A `with` statement starts it, and kills it in the end."""

    def __init__(
        self, bootstrap_servers: str, topic: str, smtp_port: int, folder: Path, **settings: object
    ) -> None:
        self.log = folder / "mailer.log"
        self._environ = os.environ | {
            "MAILER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "MAILER_TOPIC": topic,
            "MAILER_DEAD_LETTERS_TOPIC": f"{topic}.dlq",
            "MAILER_GROUP_ID": f"{topic}-mailer",
            "MAILER_SMTP_HOST": "127.0.0.1",
            "MAILER_SMTP_PORT": str(smtp_port),
            "MAILER_FROM": "confirm@example.org",
            "MAILER_LINK_BASE": "https://act.example.org/confirm",
            "MAILER_LINK_SECRET": "a secret for the tests",
            "MAILER_SENT_FILE": str(folder / "sent.sqlite"),
            "MAILER_RETRY_FIRST": "0.1",
            "MAILER_RETRY_LONGEST": "0.4",
            **{f"MAILER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "examples.mailer"], env=self._environ, stderr=log
            )

    def healthy(self) -> int:
        """Ask as a container's health check does; return the exit code."""
        command = [sys.executable, "-m", "examples.mailer", "healthy"]
        return subprocess.run(command, env=self._environ, stdout=subprocess.DEVNULL).returncode

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def until(self, seen: Callable[[], bool], seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not seen():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
