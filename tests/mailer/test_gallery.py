"""Letters to look at: a page, and files that open."""

import json
import stat
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from urllib.parse import urlsplit

from examples.mailer.gallery import directions, hang
from tests.mailer.test_letters import email
from tests.tools import debian_tool


def test_every_letter_hangs_there(tmp_path: Path) -> None:
    """HTML, plain text and whole message of each; what gets no letter is counted; old letters are gone."""
    folder = tmp_path / "letters"
    hang([email()] * 5, folder)
    gallery = hang([email("one_button", "de"), b"{poison", email(email="nobody"), email()], folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"001-one_button-de{suffix}" for suffix in (".eml", ".html", ".txt")),
        *(f"002-two_button-en{suffix}" for suffix in (".eml", ".html", ".txt")),
        "index.html",
    ]
    assert gallery.unreadable == {"no_address": 1, "not_an_email_record": 1}
    page = gallery.index.read_text()
    for shown in gallery.letters:
        assert message_from_bytes(shown.source.read_bytes())["To"] == "ana@example.org"
        assert "Ana" in shown.plain.read_text("utf-8-sig")
        assert all(f'href="{file.name}"' in page for file in (shown.html, shown.plain, shown.source))
    assert "ana@example.org" not in page
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    says = directions(gallery)
    assert "without a letter, as the mailer would refuse them: 1 no_address, 1 not_an_email_record" in says
    addresses = [word for line in says.splitlines() for word in line.split() if word.startswith("file:")]
    assert all(Path(urlsplit(address).path).exists() for address in addresses)
    assert len(addresses) == 5


def test_the_command_fails_where_there_is_no_letter(tmp_path: Path) -> None:
    """Exit code 1 for nothing but poison, and for a folder that cannot be made; 0 otherwise."""

    def render(folder: Path, text: bytes) -> int:
        command = [sys.executable, "-m", "examples.mailer", "render", str(folder)]
        return subprocess.run(command, input=text, capture_output=True).returncode

    (tmp_path / "file").touch()
    assert render(tmp_path / "letters", b"{poison\n") == 1
    assert render(tmp_path / "file" / "letters", email()) == 1
    assert render(tmp_path / "letters", b"{poison\n" + email() + b"\n") == 0


def test_a_browser_shows_the_letters(tmp_path: Path) -> None:
    """In Chromium: each frame holds its letter, Arabic runs right to left, nothing is cut on a phone."""
    from playwright.sync_api import sync_playwright

    chromium = debian_tool("chromium")
    strange = json.loads(email("two_button", "ar", firstName="<b>Ana</b>"))
    strange["action"]["org"]["title"] = "An organisation with a rather long name" * 3
    gallery = hang([email(), json.dumps(strange).encode()], tmp_path)
    options = "--no-sandbox --disable-gpu --disable-background-networking --no-first-run"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options.split())
        page = browser.new_page(viewport={"width": 360, "height": 740})
        outside: list[str] = []
        page.on("request", lambda request: outside.append(request.url))
        page.goto(gallery.index.as_uri())
        for number, shown in enumerate(gallery.letters):
            frame = page.frame_locator("iframe").nth(number)
            frame.locator("a").first.scroll_into_view_if_needed()
            assert frame.locator("a").count() == 3  # two buttons, and for those who did not sign
            assert frame.locator("b").count() == 0
            direction = frame.locator("body").evaluate("body => getComputedStyle(body).direction")
            assert direction == ("rtl" if shown.letter.locale == "ar" else "ltr")
            assert frame.locator("html").evaluate("page => page.scrollWidth <= page.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth <= 360")
        assert all(url.startswith("file:") for url in outside)
        browser.close()
