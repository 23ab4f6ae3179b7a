"""The page in a real browser, on a real worker whose lookups are switched as in the drill.

With ``PAGE_PICTURES=docs`` the pictures of the documentation are made anew: it then runs for some minutes, so
that there is a past to show.
"""

import asyncio
import itertools
import math
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from streams.observability import group_overview
from streams.observability.group_overview import GroupOverview
from streams.observability.page.live import LivePage
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import Behaviour, LookupService
from streams.sandbox.worker import Installation, WorkerProcess
from tests.commands.conftest import Make
from tests.commands.conftest import topics as topics  # the fixture
from tests.commands.top.test_top import at_work, eight
from tests.integration.topics import producing, send
from tests.tools import debian_tool

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

PICTURES = os.environ.get("PAGE_PICTURES")
#: Seconds before each picture.
HEALTHY_FOR, DOWN_FOR = (330, 190) if PICTURES else (0, 0)
WAIT = 20_000  # milliseconds
NAME, DOMAIN, REFERENCE = "Zebulon", "canary.example", "zq-canary-"
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
#: A violation of the policy is an error of the page like any other.
WATCH = "addEventListener('securitypolicyviolation', e => console.error(e.violatedDirective, e.blockedURI))"

#: Texts whose contrast is too low.
POOR = """() => {
    const parse = (c) => c.match(/[\\d.]+/g).map(Number);
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = (c) => {
        const [r, g, b] = c.slice(0, 3).map((v) => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor);
            if (c.length < 4 || c[3] > 0) return c;
        }
        return [255, 255, 255];
    };
    document.getAnimations().forEach((a) => a.finish());
    const poor = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const text = walk.currentNode, e = text.parentElement;
        if (!text.textContent.trim() || !e.checkVisibility() || e.closest("noscript, svg")) continue;
        const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(e.outerHTML.slice(0, 120));
    }
    return poor;
}"""
#: What is wider than a phone.
WIDE = """() => [...document.body.querySelectorAll("*")]
    .filter((e) => e.checkVisibility() && !e.closest(".unseen, .skip, svg, noscript"))
    .filter((e) => e.getBoundingClientRect().right > 360.5).map((e) => e.outerHTML.slice(0, 120))"""
#: What has the focus, and whether one can see it.
FOCUS = """() => {
    const e = document.activeElement, box = e.getBoundingClientRect();
    const shown = e.matches(":focus-visible") && getComputedStyle(e).outlineStyle !== "none";
    return [e.id || e.textContent, shown && box.top >= 0 && box.bottom <= innerHeight];
}"""
#: What the page is sent.
SENT = """async () => await (await fetch("live")).text() + await (await fetch("workers")).text()"""

ORGANISATIONS = """
[organisation.1]
name = "Clean Rivers"
url = "{first}"
breaker_first_pause = 0.3
breaker_longest_pause = 1

[organisation.2]
name = "Friends of the Forest"
url = "{second}"
deadline = {deadline}
breaker_first_pause = 0.3
breaker_longest_pause = 1
subscribed_lifetime = 0
not_subscribed_lifetime = 0

[organisation.3]
lookup = "none"
"""


def signature(number: int) -> tuple[bytes, bytes]:
    """An action of one of three organisations."""
    org_id = 1 + number % 3
    reference = f"{REFERENCE}{number:08d}"
    document = {
        "schema": "proca:action:2",
        "stage": "action" if number % 20 == 19 else "supporter_confirm",
        "actionId": number,
        "orgId": org_id,
        "contact": {"firstName": NAME, "email": f"s{number}@{DOMAIN}", "contactRef": reference},
    }
    return f"{org_id}:{reference}".encode(), orjson.dumps(document)


def known(number: int) -> tuple[bytes, bytes]:
    """The status of that action's supporter."""
    key, _ = signature(number)
    org_id, _, reference = key.decode().partition(":")
    row = {
        "orgId": int(org_id),
        "contactRef": reference,
        "subscribed": number % 7 < 4,
        "asOf": "2026-11-24T10:00:00Z",
    }
    return key, orjson.dumps(row)


async def signing(servers: str, topic: str, rate: float) -> None:
    """Sign until cancelled: about `rate` a second, in waves as campaigns have them."""
    numbers = itertools.count(1)
    async with producing(servers) as producer:
        while True:
            wave = 1 + 0.3 * math.sin(time.monotonic() / 23) + 0.15 * math.sin(time.monotonic() / 7)
            for number in itertools.islice(numbers, round(rate * wave / 10)):
                key, value = signature(number)
                await producer.send(topic, value, key=key)
            await asyncio.sleep(0.1)


class Scene:
    """A worker at work, and a browser that looks at it."""

    def __init__(
        self, worker: WorkerProcess, crm: LookupService, place: Installation, browser: Browser
    ) -> None:
        self.worker = worker
        self.crm = crm  # of organisation 2
        self.place = place
        self.browser = browser
        self.origin = f"http://127.0.0.1:{worker.port}"
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []

    async def open(self, width: int = 1280, height: int = 900, **options: Any) -> Page:
        """Open the page in a window of its own."""
        context = await self.browser.new_context(viewport={"width": width, "height": height}, **options)
        page = await context.new_page()
        await page.add_init_script(WATCH)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._note(request.url))
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        await page.goto(self.origin)
        return page

    def _note(self, url: str) -> None:
        if not url.startswith(f"{self.origin}/"):
            self.elsewhere.append(url)


@pytest.fixture
async def scene(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> AsyncIterator[Scene]:
    """One worker with three organisations, two of which have a lookup."""
    chromium = debian_tool("chromium")
    async with AsyncExitStack() as stack:
        first, second = (stack.enter_context(LookupService()) for _ in range(2))
        file = tmp_path / "organisations.toml"
        deadline = 0.4 if PICTURES else 5  # a busy machine must not look like a slow lookup
        file.write_text(ORGANISATIONS.format(first=first.url, second=second.url, deadline=deadline))
        name = unique_name("page") if not PICTURES else "confirmation"
        place = Installation(
            kafka.bootstrap_servers, name, tmp_path, organisations_file=file, group_instance_id="worker-0"
        )
        stack.callback(place.kill_all)
        worker = place.worker()
        worker.start()
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        stack.push_async_callback(browser.close)
        await asyncio.to_thread(worker.wait_ready)
        yield Scene(worker, second, place, browser)


@asynccontextmanager
async def signers(scene: Scene) -> AsyncIterator[None]:
    """People sign meanwhile."""
    servers, topic = scene.place.bootstrap_servers, scene.place.names.actions
    task = asyncio.create_task(signing(servers, topic, 90 if PICTURES else 60))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def picture(shown: Page | Locator, name: str, folder: Path, **options: Any) -> None:
    """Keep what the page, or a part of it, looks like."""
    path = Path(PICTURES or folder) / f"{name}.png"
    await shown.screenshot(path=path, **options)
    assert path.stat().st_size > 10_000


async def test_the_page_shows_what_happens(scene: Scene, tmp_path: Path) -> None:
    """Quiet, healthy, one organisation's lookup down, mended, a dead letter, a restart: without a reload."""
    page = await scene.open()
    await page.evaluate("window.untouched = true")
    status_section = page.locator("#status")
    headline, rest = page.locator("#headline"), page.locator("#rest")
    workers = page.locator("#workers-table tbody tr")
    second = page.locator("#lookups-table tbody tr").filter(has_text="Friends of the Forest")
    failed = page.locator("#letters-table tbody tr").filter(has_text="lookup failed")

    await expect(headline).to_have_text("Nothing to send.")
    await expect(page.locator("#partitions-table tbody tr.group")).to_have_count(2)
    await expect(workers).to_have_count(2)  # all, and each
    await expect(workers.first).to_contain_text("All 1")
    await expect(workers.last).to_contain_text(f"worker-0127.0.0.1:{scene.worker.port}")
    await expect(workers.last).to_contain_text("Ready")

    servers, names = scene.place.bootstrap_servers, scene.place.names
    rows = [known(number) for number in range(1, 60_000 if PICTURES else 3_000) if number % 2]
    await send(servers, names.statuses, rows)
    async with signers(scene):
        # healthy
        await expect(headline).to_have_text("Emails leave.")
        await expect(status_section).to_have_attribute("data-level", "good")
        await expect(second).to_contain_text("Answers")
        await expect(second).to_contain_text("100 %")
        await expect(workers.last.locator("td").nth(1)).to_have_text(re.compile(r"^[\d,.]*[1-9][\d,.]*$"))
        await expect(page.locator("#key-out")).to_have_text(re.compile(r"^[\d,.]*[1-9][\d,.]*$"))
        await expect(page.locator("#plot path.band")).not_to_have_count(0)
        await expect(
            page.locator("#partitions-table tbody tr td:nth-child(2)").get_by_text("–")
        ).to_have_count(0)
        await asyncio.sleep(HEALTHY_FOR)
        await accessible(page, "good")
        await picture(page, "page-healthy", tmp_path, full_page=True)

        # one organisation's lookup is down
        scene.crm.behave(Behaviour.HANGING if PICTURES else Behaviour.ERRORS)
        await expect(status_section).to_have_attribute("data-level", "degraded")
        await expect(headline).to_have_text("Emails leave.")
        await expect(rest).to_have_text(
            re.compile(
                r"The lookup of Friends of the Forest \(2\) has been down for \d+ (s|min): its supporters get"
                r" the two-button letter\. No action is needed now\."
            )
        )
        await expect(page.locator("#spoken")).to_contain_text(
            "The lookup of Friends of the Forest (2) is down"
        )
        await expect(second).to_contain_text("Down for")
        await expect(failed.locator("td").last).to_have_text(re.compile(r"[1-9]"))
        await expect(page.locator("#plot path.f4.band")).to_have_count(1)
        await asyncio.sleep(DOWN_FOR)
        await accessible(page, "degraded")
        await picture(page, "page-lookup-down", tmp_path, full_page=True)
        await on_a_phone(scene, tmp_path)

        # mended
        scene.crm.behave(Behaviour.HEALTHY)
        await expect(second).to_contain_text("breaker closed")
        await expect(rest).not_to_contain_text("has been down")

        # a dead letter
        await send(servers, names.actions, [(b"2:x", b"{not json")])
        await expect(rest).to_contain_text("1 record became a dead letter")
        await expect(page.locator("#dead-table tbody tr")).to_have_count(1)

        await keyboard(page)
        await private(scene, page)
    assert scene.complaints == []

    # a worker that does not answer is not shown as a healthy one
    scene.worker.send(signal.SIGSTOP)
    await expect(headline).to_have_text("Connection lost.")
    await expect(rest).to_contain_text("It is not known whether emails leave.")
    scene.worker.send(signal.SIGCONT)
    await expect(page.locator("#link")).to_contain_text("updated")

    # the worker stops and comes back
    began = time.monotonic()
    assert await asyncio.to_thread(scene.worker.stop) == 0
    assert time.monotonic() - began < 25, "an open page must not hold up the worker's end"
    await expect(headline).to_have_text("Connection lost.")
    await expect(status_section).to_have_attribute("data-level", "lost")
    await expect(page.locator("#spoken")).to_contain_text("Connection lost.")
    await contrast(page)
    scene.worker.start()
    await expect(headline).to_have_text(re.compile("Emails|Nothing"))
    await expect(page.locator("#link")).to_contain_text("updated")
    assert await page.evaluate("window.untouched"), "it was reloaded"
    assert [text for text in scene.complaints if "net::ERR_" not in text] == []
    assert scene.elsewhere == []
    # and a breach of the policy would have been heard
    async with page.expect_console_message(lambda message: "style-src" in message.text):
        await page.evaluate("document.body.setAttribute('style', 'color: red')")


async def test_eight_workers_are_on_one_screen(
    topics: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All together first, those in trouble before the others, and why; the silent one has no figures."""
    monkeypatch.setattr(group_overview, "ASK_WITHIN", 30.0)  # nobody hangs here, but this machine may be busy
    chromium = debian_tool("chromium")
    live = await topics(partitions=8)
    async with AsyncExitStack() as stack:
        members = await eight(stack, live)
        app = web.Application()
        group = GroupOverview(live.installation.group, live.installation.connection)
        LivePage(at_work(0).overview, group).add_to(app)
        runner = web.AppRunner(app)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        stack.push_async_callback(browser.close)
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        expect.set_options(timeout=WAIT)
        await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}")
        rows = page.locator("#workers-table tbody tr")
        await expect(rows).to_have_count(9)
        await expect(rows.nth(0)).to_contain_text("All 8")
        await expect(rows.nth(0)).to_contain_text("6 ready, 1 silent")
        await expect(rows.nth(1)).to_contain_text("cannot commit: NotEnoughReplicas")
        await expect(rows.nth(2)).to_contain_text("Silent")
        await expect(rows.nth(2).locator("td").nth(1)).to_have_text("–")
        for row, number in enumerate((5, 6, 0, 1, 2, 3, 4, 7), 1):
            await expect(rows.nth(row)).to_contain_text(f"worker-{number}{members[number].address}")
        await contrast(page)
        await picture(page.locator("section.workers"), "page-eight-workers", tmp_path)


async def accessible(page: Page, level: str) -> None:
    """Landmarks, headings, tables with captions and heads, and a plot in words."""
    tree = await page.locator("body").aria_snapshot()
    for wanted in (
        "- banner:",
        "- main:",
        "- contentinfo:",
        "- status:",
        '- heading "Emails leave." [level=1]',
        '- heading "Emails per second" [level=2]',
        '- heading "Lookups" [level=2]',
        '- heading "Partitions" [level=2]',
        '- heading "Last errors and warnings" [level=2]',
        '- heading "Dead letters" [level=2]',
        '- heading "All workers" [level=2]',
        '- region "Lookups"',
        '- navigation "Other pages of this worker"',
        '- slider "Moment in the plot of emails per second"',
        '- link "Skip to the figures"',
        '- table "Each organisation\'s lookup in the last minute"',
        '- columnheader "Answered"',
        "- rowheader",
    ):
        assert wanted in tree, (wanted, tree)
    assert await page.locator("#status").get_attribute("data-level") == level
    assert await page.locator("[aria-live]").count() == 1, "only the sentence speaks by itself"
    assert await page.locator("table:not(:has(caption)), th:not([scope])").count() == 0
    text = await page.locator("#plot-text").text_content()
    assert re.search(r"Over the last .*, [\d.,]+ emails per second on average, at most [\d.,]+\.", text or "")
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
        await contrast(page)


async def contrast(page: Page) -> None:
    """Every text has the contrast of WCAG 2.2, 1.4.3: 4.5 to its background."""
    poor = await page.evaluate(POOR)
    assert poor == []


async def on_a_phone(scene: Scene, folder: Path) -> None:
    """At 360 pixels nothing is wider than the screen, whatever there is to say."""
    phone = await scene.open(360, 740, device_scale_factor=2, has_touch=True, is_mobile=True)
    await expect(phone.locator("#rest")).to_contain_text("has been down")
    await expect(phone.locator("#plot path.band")).not_to_have_count(0)
    wide = await phone.evaluate(WIDE)
    assert wide == []
    assert await phone.evaluate("document.documentElement.scrollWidth") == 360
    await picture(phone, "page-phone", folder)
    await phone.context.close()


async def keyboard(page: Page) -> None:
    """Tab reaches everything that can be used, visibly; arrow keys read the plot."""
    await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    reached = []
    for _ in range(5):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate(FOCUS))
    assert reached == [
        ["Skip to the figures", True], ["plot", True], ["Metrics", True], ["Ready?", True], ["Alive?", True],
    ]  # fmt: skip
    plot = page.locator("#plot")
    await plot.focus()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    moment = re.compile(r"^\d\d:\d\d:\d\d: [\d.,]+ actions in, [\d.,]+ emails out per second")
    await expect(plot).to_have_attribute("aria-valuetext", moment)
    await expect(page.locator("#readout")).to_have_text(moment)
    await expect(page.locator("#plot .cursor")).to_have_count(1)
    await page.keyboard.press("Escape")
    await expect(page.locator("#plot .cursor")).to_have_count(0)
    await page.locator(".skip").focus()
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "plot-section"


async def private(scene: Scene, page: Page) -> None:
    """Neither the page nor what it is sent names anybody."""
    sent = await page.evaluate(SENT)
    everything = sent + await page.content()
    assert '"partitions"' in everything
    assert '"points"' in everything
    for canary in (NAME, DOMAIN, REFERENCE, "@"):
        assert canary not in everything
