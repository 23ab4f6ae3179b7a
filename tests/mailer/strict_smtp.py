"""An SMTP server that takes nothing which RFC 5321 and RFC 6531 do not allow, and notes what it was offered.

It shares no code with the mailer's client, nor with Python's email package.
"""

import re
import socketserver
import threading
from typing import NamedTuple, Self

_COMMAND = 512 + 500  # bytes; RFC 5321 and what SMTPUTF8 and SIZE add
_LINE = 1000  # bytes, with CR and LF
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+"
_LOCAL = rb"(?:%b(?:\.%b)*|\"(?:[ !#-\[\]-~]|\\[ -~])*\")" % (_ATOM, _ATOM)
_LABEL = rb"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_MAILBOX = rb"<(%b@%b(?:\.%b)*)>" % (_LOCAL, _LABEL, _LABEL)
_MAIL = re.compile(rb"MAIL FROM:%b((?: [A-Za-z0-9-]+(?:=[!-<>-~]+)?)*)" % _MAILBOX, re.IGNORECASE)
_RCPT = re.compile(rb"RCPT TO:%b" % _MAILBOX, re.IGNORECASE)


class Taken(NamedTuple):
    """One letter, as it came."""

    sender: str
    recipient: str
    smtputf8: bool
    content: bytes


class StrictSmtp(socketserver.ThreadingTCPServer):
    """Takes letters on a free port of loopback; as a context manager, starts and ends."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *extensions: str) -> None:
        """Offer these extensions: ``SMTPUTF8``, ``8BITMIME``, ``SIZE``."""
        self.extensions = extensions
        self.taken: list[Taken] = []
        self.violations: list[str] = []
        super().__init__(("127.0.0.1", 0), _Session)

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Session(socketserver.StreamRequestHandler):
    server: StrictSmtp

    def handle(self) -> None:
        self._sender = self._recipient = ""
        self._smtputf8 = False
        self._say("220 strict")
        while line := self.rfile.readline(_COMMAND + 1):
            if len(line) > _COMMAND or not re.fullmatch(rb"[^\r\n\0]*\r\n", line):
                self._violation("command line")
                return
            if not self._command(line[:-2]):
                return

    def _command(self, line: bytes) -> bool:
        verb = line[:4].upper()
        if verb == b"EHLO":
            *lines, last = ["strict", *self.server.extensions]
            self._say("\r\n".join([*(f"250-{each}" for each in lines), f"250 {last}"]))
        elif mail := _MAIL.fullmatch(line):
            options = [option.split(b"=")[0].decode().upper() for option in mail[2].split()]
            known = {"BODY": "8BITMIME"}
            if self._sender or any(known.get(each, each) not in self.server.extensions for each in options):
                self._violation("MAIL")
            self._sender, self._recipient = mail[1].decode(), ""
            self._smtputf8 = "SMTPUTF8" in options
            self._say("250 ok")
        elif rcpt := _RCPT.fullmatch(line):
            recipient = rcpt[1].decode()
            if not self._sender or self._recipient or not (self._smtputf8 or recipient.isascii()):
                self._violation("RCPT")
            self._recipient = recipient
            self._say("250 ok")
        elif line.upper() == b"DATA" and self._recipient:
            self._say("354 go on")
            content = self._content()
            if content is None:
                return False
            self.server.taken.append(Taken(self._sender, self._recipient, self._smtputf8, content))
            self._sender = self._recipient = ""
            self._say("250 ok")
        elif line.upper() == b"QUIT":
            self._say("221 bye")
            return False
        else:
            self._violation(f"command {verb!r}")
            return False
        return True

    def _content(self) -> bytes | None:
        lines = []
        while (line := self.rfile.readline(_LINE + 2)) != b".\r\n":
            line = line.removeprefix(b".")
            if len(line) > _LINE or not re.fullmatch(rb"[^\r\n\0]*\r\n", line):
                self._violation("line of a letter")
                return None
            if not (self._smtputf8 or line.isascii()):
                self._violation("letter is not ASCII")
            lines.append(line)
        return b"".join(lines)

    def _say(self, reply: str) -> None:
        self.wfile.write(f"{reply}\r\n".encode())

    def _violation(self, what: str) -> None:
        self.server.violations.append(what)
        self._say("500 no")
