"""``python -m examples.mailer`` mails; with ``render FOLDER < emails.jsonl`` it shows what it would."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

from aiokafka.errors import KafkaError

from examples.mailer.letters import Letters, Unreadable
from examples.mailer.links import Links
from examples.mailer.mailer import Mailer
from examples.mailer.sent import Sent
from examples.mailer.settings import Settings, WrongSetting, read_settings
from examples.mailer.smtp import Smtp


async def mail(settings: Settings) -> None:
    """Mail until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sent = Sent(settings.sent_file, settings.sent_days, time.time)
    letters = Letters(settings.from_, Links(settings.link_base, settings.link_secret))
    try:
        await Mailer(settings, letters, Smtp(settings), sent).run(stop)
    finally:
        sent.close()


def render(folder: Path) -> None:
    """Write the letter of each email on standard input, one JSON object a line, to `folder`."""
    letters = Letters("confirm@example.org", Links("https://example.org/confirm", "only to be looked at"))
    folder.mkdir(parents=True, exist_ok=True)
    for line in sys.stdin.buffer:
        letter = letters.render(line)
        stem = folder / f"{letter.variant}-{letter.locale}"
        stem.with_suffix(".eml").write_bytes(bytes(letter.message))
        html = letter.message.get_body(("html",))
        assert html is not None
        stem.with_suffix(".html").write_text(html.get_content(), "utf-8")
        sys.stdout.write(f"{stem}.html\n")


def main(arguments: list[str]) -> int:
    """Return the exit code: 2 for a wrong setting, 1 if Kafka or a record ended it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    try:
        match arguments:
            case []:
                asyncio.run(mail(read_settings(os.environ)))
                logging.getLogger("mailer").info("stopped")
            case ["render", folder]:
                render(Path(folder))
            case _:
                sys.stderr.write(f"{__doc__}\n")
                return 2
    except WrongSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (KafkaError, Unreadable) as error:
        sys.stderr.write(f"The mailer cannot go on: {type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
