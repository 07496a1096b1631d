# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report in a real browser: quiet, whole, readable on a phone, on a screen and on paper, in light and dark."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import Pages, render
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import read_run
from playwright.sync_api import Browser, Page
from unit.report_runs import EVERY_KIND, SWITCHED, Result, checks, replica

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> ```x``` [a](javascript:alert(3)) ;end #35; %%{init}%%"
)
LONG = "redis-production-node-{:02d}.eu-central-1.internal.example.com"

Scheme = Literal["light", "dark"]


def hostile(value: Any) -> Any:
    if isinstance(value, dict):
        kept = ("outcome", "who", "what", "action", "status")
        return {key: child if key in kept else hostile(child) for key, child in value.items()}
    if isinstance(value, list):
        return [hostile(child) for child in value]
    return f"{value} {HOSTILE}" if isinstance(value, str) else value


def renamed(value: Any) -> Any:
    """The same with the long names of a large company."""
    if isinstance(value, dict):
        return {key: renamed(child) for key, child in value.items()}
    if isinstance(value, list):
        return [renamed(child) for child in value]
    if isinstance(value, str):
        return re.sub(r"192\.0\.2\.(\d+)", lambda found: LONG.format(int(found[1])), value)
    return value


def crowded(result: Result) -> Result:
    """The same with ten replicas and nine Sentinels."""
    more = [f"192.0.2.{30 + number}:6379" for number in range(8)]
    events = []
    for number in range(6):
        detail = "sentinel e3654ffcdf8c566858a409a05a00e8e99c0d39c8 192.0.2.12 26379 @ orders 192.0.2.21 6379"
        who = f"sentinel 192.0.2.{60 + number}:26379"
        events.append({"at_ms": 9879.3, "who": who, "what": "+config-update-from", "detail": detail})
    replicas = [*result["replicas"], *(replica(address) for address in more)]
    return {**result, "timeline": [*result["timeline"], *events], "replicas": replicas}


ALL: dict[str, Result] = {
    **EVERY_KIND,
    "hostile": hostile(SWITCHED),
    "long_names": renamed(SWITCHED),
    "crowded": crowded(SWITCHED),
}


def pages(kind: str) -> Pages:
    asked = kind not in ("not_run", "module_broke")
    before = checks("quorum") if kind == "not_run" else checks(warned=("quorum",))
    run = read_run(ALL[kind], before, checks() if asked else None, "orders" if kind != "hostile" else HOSTILE)
    return render(run, made_at="2026-11-22 18:20:31 UTC")


@dataclass
class Visit:
    """A page that was opened, and everything that it asked for or complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Site:
    """Serves one page, as an artifact server would, and counts what is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.body = b""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/report.html"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    served = Site()
    yield served
    served.server.shutdown()
    served.server.server_close()


@contextmanager
def visit(browser: Browser, site: Site, html: str, width: int, scheme: Scheme = "light") -> Iterator[Visit]:
    site.body, site.asked = html.encode(), []
    # The page must do without script.
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=False
    )
    page = context.new_page()
    seen = Visit(page)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
    page.goto(site.url, wait_until="load")
    yield seen
    context.close()


# What sticks out of the picture, of its bar, or of the head of its column: measured with the fonts of this machine.
STICKS_OUT = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg.picture')) {
    if (!svg.getClientRects().length) continue;
    const view = svg.viewBox.baseVal;
    for (const text of svg.querySelectorAll('text')) {
      const box = text.getBBox();
      if (box.x < -1 || box.x + box.width > view.width + 1 || box.y < -1 || box.y + box.height > view.height + 1)
        found.push('out of the picture: ' + text.textContent);
      const own = text.parentNode.tagName === 'g' && text.parentNode.querySelector('rect');
      if (own && !text.classList.contains('soft')) {
        const bar = own.getBBox();
        if (box.x < bar.x - 1 || box.x + box.width > bar.x + bar.width + 1)
          found.push('wider than its box: ' + text.textContent);
      }
    }
  }
  return found;
}"""

# Text whose colour is too near to that of its ground (WCAG 2, AA).
FAINT = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = channels(colour).slice(0, 3).map(value => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest('svg') || !element.getClientRects().length) continue;
    let ground = element;
    while (ground && (channels(getComputedStyle(ground).backgroundColor)[3] ?? 1) < 1) ground = ground.parentElement;
    const one = light(getComputedStyle(element).color);
    const other = light(getComputedStyle(ground ?? document.body).backgroundColor);
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push(contrast.toFixed(2) + ' ' + walker.currentNode.textContent.trim());
  }
  return found;
}"""


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")], ids=["phone", "screen-dark"])
@pytest.mark.parametrize("kind", ALL)
def test_a_page_is_quiet_whole_and_readable(
    browser: Browser, site: Site, tmp_path: Path, kind: str, width: int, scheme: Scheme
) -> None:
    made = pages(kind)
    with visit(browser, site, made.html, width, scheme) as seen:
        assert seen.requests == [site.url] or seen.requests == [site.url, "data:,"]
        assert site.asked == ["/report.html"]
        assert seen.complaints == []
        assert seen.page.locator("header .headline").inner_text() == made.headline
        assert seen.page.locator("header .headline").is_visible()
        assert seen.page.locator("header .headline").bounding_box()["y"] < 300  # type: ignore[index]
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        assert seen.page.evaluate(STICKS_OUT) == []
        assert seen.page.evaluate(FAINT) == []
        picture = tmp_path / f"{kind}-{width}.png"
        seen.page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 10_000
    assert len(made.html.encode()) < 300_000


def test_the_picture_fits_the_page(browser: Browser, site: Site) -> None:
    """A phone gets a picture of its own, and a list instead of the diagram."""
    for width, shown in ((360, ["picture narrow"]), (1280, ["picture wide", "picture wide"])):
        with visit(browser, site, pages("switched").html, width) as seen:
            visible = seen.page.locator("svg.picture >> visible=true")
            assert [picture.get_attribute("class") for picture in visible.all()] == shown
            assert seen.page.locator("ol.talk").is_visible() is (width == 360)


def test_patterns_are_drawn_where_the_wide_picture_is_hidden(browser: Browser, site: Site) -> None:
    """What is referred to lies in no hidden picture: Chromium would paint nothing."""
    with visit(browser, site, pages("plain").html, 360) as seen:
        hidden = """() => [...document.querySelectorAll('pattern, symbol')].filter(
            it => getComputedStyle(it.closest('svg')).display === 'none').map(it => it.id)"""
        assert seen.page.evaluate(hidden) == []


def test_every_event_is_behind_a_click(browser: Browser, site: Site) -> None:
    with visit(browser, site, pages("switched").html, 1280) as seen:
        events = seen.page.locator("table.events tbody tr")
        assert events.count() == len(SWITCHED["timeline"])
        assert not events.first.is_visible()
        seen.page.locator("summary", has_text="events of this run").click()
        assert events.first.is_visible()


@pytest.mark.parametrize(("kind", "most"), [("switched", 4), ("crowded", 6), ("planned", 2), ("refused", 2)])
def test_paper(browser: Browser, site: Site, tmp_path: Path, kind: str, most: int) -> None:
    with visit(browser, site, pages(kind).html, 1280, "dark") as seen:
        paper = tmp_path / f"{kind}.pdf"
        seen.page.pdf(path=paper, prefer_css_page_size=True, print_background=True)
        content = paper.read_bytes()
        assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= most
        assert re.search(rb"/MediaBox\s*\[\s*0 0 59[45](\.\d+)? 84[12](\.\d+)?\s*\]", content), "A4"
        seen.page.emulate_media(media="print")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert seen.page.evaluate(FAINT) == [], "paper is white, whatever the screen was"


@pytest.fixture(scope="module")
def canvas(browser: Browser, mermaid_script: Path) -> Iterator[Visit]:
    """A page that can draw Mermaid's diagrams."""
    page = browser.new_page()
    seen = Visit(page)
    page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
    page.set_content("<div id=picture></div>")
    page.add_script_tag(path=mermaid_script)
    yield seen
    page.close()


@pytest.mark.parametrize("kind", [kind for kind in ALL if "```mermaid" in pages(kind).markdown])
def test_mermaid_draws_the_diagrams(canvas: Visit, kind: str) -> None:
    diagrams = re.findall(r"^```mermaid\n(.*?)^```$", pages(kind).markdown, re.DOTALL | re.MULTILINE)
    assert [diagram.split()[0] for diagram in diagrams] == ["stateDiagram-v2", "sequenceDiagram"]
    for diagram in diagrams:
        shown = canvas.page.evaluate(
            """async diagram => {
                await mermaid.parse(diagram);
                const place = document.getElementById('picture');
                place.innerHTML = (await mermaid.render('drawn', diagram)).svg;
                return place.textContent;
            }""",
            diagram,
        )
        assert "Syntax error" not in shown
        for text in ("Ready", "Promoting") if diagram.startswith("state") else ("this run", "master before"):
            assert text in shown
        assert canvas.page.locator("#picture script, #picture img").count() == 0
    if kind == "hostile":
        assert "<script>alert(1)</script>" in shown
    assert canvas.complaints == []
