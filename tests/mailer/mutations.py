"""Email records that somebody broke or bent, from a seed."""

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

from tests.examples import valid
from tests.mailer.test_addresses import ASCII, INTERNATIONAL
from tests.mailer.test_message import ENCODED_WORDS, SPECIALS
from tests.mailer.test_plain_text import LINKS, NAMES, NOBODY

#: Text that means something to SMTP, MIME, HTML, a template, a log or a browser.
_HOSTILE = [
    *(
        "\r\n.\r\n",
        "\n.\n",
        "\r\nRCPT TO:<all@example.net>\r\n",
        "\r\nDATA\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
    ),
    *("\r\nBcc: all@example.net", "\nContent-Type: text/html", "\u2028Bcc: all@example.net", "\x85", "\x0b"),
    *("</p><a href='https://bad.example'>x</a>", "<script>x</script>", "<!--", "-->", "&lt;", '" onclick="x'),
    *(
        "{{ 7*7 }}",
        "{% raw %}",
        "{name}",
        "{campaign.__class__}",
        "{0}",
        "%s",
        "\\",
        "$(x)",
        "]]>",
        "\x1b[2J",
    ),
    *("\ud800", "\udfff", "\ufffe", "\u202e", "\u2066", "\u200b", "\u00ad", "\U000e0041", "\x0c", "=" * 80),
    *(
        "é" * 300,
        "x" * 1_200,
        "x " * 700,
        "<" * 998,
        "a@b.org, c@d.org",
        "<a@b.org>",
        "a@b.org (c)",
        '"',
        "'",
    ),
    *(",", ";", ":", "@", "--", "-- ", "From ", "boundary="),
]
_TEXTS = [
    *ENCODED_WORDS,
    *SPECIALS,
    *_HOSTILE,
    *LINKS,
    *NAMES,
    *(each for each in NOBODY if isinstance(each, str)),
]
_VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        7.5,
        10**30,
        float("nan"),
        float("inf"),
        float("-inf"),
        [],
        {},
        [[]],
        {"": {}},
    ),
    *(
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "2026-02-30T00:00:00Z",
        "2026-11-24",
        "\u0661",
    ),
    *(
        "one_button",
        "two_button",
        "ar",
        "he",
        "de_AT",
        "en",
        "../en",
        "246e2497-c6d5-5a52-bda8-cf198cbf8292\n",
    ),
    *(INTERNATIONAL | ASCII),
]
_ADDRESSES = [*INTERNATIONAL, *ASCII]


def records(seed: int, number: int) -> Iterator[bytes | None]:
    """So many values of records, each with an id of its own as long as nobody touches it."""
    dice = random.Random(seed)
    examples = list(valid("confirmation-email").values())
    for at in range(number):
        record = json.loads(dice.choice(examples))
        record["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/{at}"))
        record["action"].setdefault("contact", {})["email"] = dice.choice(
            [*_ADDRESSES, f"ana{at}@example.org"]
        )
        record["action"]["actionPage"] = {"locale": dice.choice(["en", "de", "ar", "he", "xx", None])}
        for _ in range(dice.choice([0, 1, 1, 2, 3])):
            _bend(record, dice)
        value = json.dumps(record, ensure_ascii=dice.random() < 0.5).encode(errors="surrogatepass")
        yield _break(value, dice) if dice.random() < 0.15 else value


def _bend(record: dict[str, Any], dice: random.Random) -> None:
    """Change one field, mostly one that stands in the letter."""
    if dice.random() < 0.7:
        above, name = dice.choice(
            [("org", "title"), ("campaign", "title"), ("contact", "firstName"), ("contact", "email")]
        )
        place = record["action"].get(above) if isinstance(record.get("action"), dict) else None
    else:
        place, name = dice.choice(
            [(place, name) for place in _objects(record) for name in place] or [({}, "")]
        )
    if not isinstance(place, dict):
        return
    before = place.get(name)
    match dice.randrange(5):
        case 0:
            place[name] = dice.choice(_VALUES)
        case 1:
            place.pop(name, None)
        case 2:
            place[name] = dice.choice(_TEXTS)
        case _ if isinstance(before, str):
            at = dice.randint(0, len(before))
            place[name] = before[:at] + dice.choice(_TEXTS) + before[at:]
        case _:
            place[name] = [before]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _objects(each)


def _break(value: bytes, dice: random.Random) -> bytes | None:
    """Change bytes, whether it is JSON afterwards or not."""
    at = dice.randint(0, len(value))
    match dice.randrange(7):
        case 0:
            return value[:at]
        case 1:
            return value[:at] + bytes([dice.randrange(256)]) + value[at + 1 :]
        case 2:
            return (
                value[:at]
                + dice.choice([b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b'"'])
                + value[at:]
            )
        case 3:
            return value[:-1] + b',"id":"246e2497-c6d5-5a52-bda8-%012x"}' % dice.randrange(1 << 48)
        case 4:
            return value[:-1] + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
        case 5:
            return dice.choice(
                [value.decode(errors="replace").encode(code) for code in ("utf-16", "utf-8-sig")]
            )
        case _:
            return dice.choice([None, b"", b"[]", b"7", b"NaN", value * 2, value + b" x"])
