"""The last act: some of the emails are given to a mailer, and the letters that it makes can be opened.

The mailer is a command, whatever it is: it gets one JSON object a line, and what it says is shown.
"""

import asyncio
import shlex
from asyncio.subprocess import PIPE, STDOUT

import msgspec

_AT_MOST = 60  # locales come with people's own actions, and may be many
_WITHIN = 60.0  # seconds


class _Page(msgspec.Struct):
    locale: str = ""


class _Action(msgspec.Struct):
    actionPage: _Page | None = None


class _Email(msgspec.Struct):
    variant: str = ""
    reason: str = ""
    action: _Action | None = None


_decode = msgspec.json.Decoder(_Email).decode


class Samples:
    """The first email of each variant in each locale, and of each reason."""

    def __init__(self) -> None:
        """Begin without any."""
        self.emails: list[bytes] = []
        self._seen: set[tuple[str, str]] = set()

    def add(self, value: bytes) -> None:
        """Take an email's value, if it shows something that none before it did."""
        if len(self.emails) == _AT_MOST:
            return
        try:
            email = _decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # an action may hold anything
            email = _Email()
        page = email.action.actionPage if email.action is not None else None
        shows = {(email.variant, page.locale if page is not None else ""), ("", email.reason)}
        if not shows <= self._seen:
            self._seen |= shows
            self.emails.append(value)


class NoLetters(Exception):
    """The mailer made none. The text says why, in half a sentence."""


async def letters(mailer: str, emails: list[bytes]) -> str:
    """Give these emails to the command `mailer`; return what it says.

    Raises:
        NoLetters: it cannot be run, exits with a code but 0, or takes longer than 60 s.
    """
    # A line break outside of JSON's strings means nothing, and inside of them there is none.
    lines = b"".join(email.replace(b"\n", b" ") + b"\n" for email in emails)
    try:
        program, *arguments = shlex.split(mailer)
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=PIPE, stdout=PIPE, stderr=STDOUT
        )
    except (OSError, ValueError) as error:
        raise NoLetters(f"the mailer cannot be run ({type(error).__name__})") from None
    try:
        says, _ = await asyncio.wait_for(process.communicate(lines), _WITHIN)
    except TimeoutError:
        raise NoLetters(f"the mailer made no letters within {_WITHIN:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = says.decode(errors="replace").rstrip()
    if process.returncode != 0:
        last = f": {text}" if text else ""
        raise NoLetters(f"the mailer ended with exit code {process.returncode}{last}")
    return text
