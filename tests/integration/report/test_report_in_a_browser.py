# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report in a real browser: quiet, whole, readable on a phone, on a screen and on paper, in light and dark."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from unit.report_runs import SWITCHED
from unit.report_shapes import PAGES, SHAPES, shape_pages

from lab.screenshots import PAPER, PHONE, SCREEN, VIEWS, Scheme, browser_program
from lab.web import Answer, Asked, WebServer


@dataclass
class Visit:
    """A page that was opened, and everything that it asked for or complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Site(WebServer):
    """Serves one page, as an artifact server would, and counts what is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.body = b""
        super().__init__(self._answer, "text/html")

    def _answer(self, asked: Asked) -> Answer:
        self.asked.append(asked.path)
        return 200, self.body

    @property
    def page(self) -> str:
        return f"{self.url}/report.html"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as served:
        yield served


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Visit]:
    """One window for all visits: to open one costs more than to look at a page."""
    # The page must do without script.
    context = browser.new_context(java_script_enabled=False)
    seen = Visit(context.new_page())
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
    yield seen
    context.close()


def visit(window: Visit, site: Site, html: str, width: int, scheme: Scheme = "light") -> Visit:
    """Goes to a page; what was asked for and complained about before is forgotten."""
    # Nothing of the page before is left to ask or to complain.
    window.page.goto("about:blank")
    site.body, site.asked = html.encode(), []
    window.requests.clear()
    window.complaints.clear()
    window.page.set_viewport_size({"width": width, "height": 800})
    window.page.emulate_media(media="null", color_scheme=scheme)
    window.page.goto(site.page, wait_until="load")
    return window


# What sticks out of its picture, of its bar or box, or meets another text: measured with the fonts of this machine.
STICKS_OUT = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg.picture')) {
    if (!svg.getClientRects().length) continue;
    const view = svg.viewBox.baseVal;
    const texts = [...svg.querySelectorAll('text')];
    const boxes = texts.map(text => text.getBBox());
    texts.forEach((text, number) => {
      const box = boxes[number];
      if (box.x < -1 || box.x + box.width > view.width + 1 || box.y < -1 || box.y + box.height > view.height + 1)
        found.push('out of the picture: ' + text.textContent);
      const own = text.parentNode.tagName === 'g' && text.parentNode.querySelector('rect:not(.plate)');
      if (own && !text.classList.contains('soft')) {
        const bar = own.getBBox();
        if (box.x < bar.x - 1 || box.x + box.width > bar.x + bar.width + 1)
          found.push('wider than its box: ' + text.textContent);
      }
      boxes.slice(0, number).forEach((other, earlier) => {
        if (Math.min(box.x + box.width, other.x + other.width) - Math.max(box.x, other.x) > 1 &&
            Math.min(box.y + box.height, other.y + other.height) - Math.max(box.y, other.y) > 3)
          found.push('one on the other: ' + texts[earlier].textContent + ' / ' + text.textContent);
      });
    });
  }
  for (const box of document.querySelectorAll('.fact, .place, td, dd, li, pre, p'))
    if (box.getClientRects().length && box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).display !== 'inline')
      found.push('wider than its box: ' + box.textContent.trim().slice(0, 60));
  return found;
}"""

# Every text of a picture that a line goes through, unless something is painted between the two.
STRUCK_THROUGH = """() => {
  const found = [];
  const paints = element => {
    const fill = getComputedStyle(element).fill;
    return fill !== 'none' && !fill.startsWith('url') && (fill.match(/[\\d.]+/g)[3] ?? 1) == 1;
  };
  const inside = (box, x, y, by) =>
    x > box.x + by && x < box.x + box.width - by && y > box.y + by && y < box.y + box.height - by;
  for (const svg of document.querySelectorAll('svg.picture')) {
    if (!svg.getClientRects().length) continue;
    const all = [...svg.querySelectorAll('path, rect, text')].filter(it => !it.closest('defs'));
    const boxes = new Map(all.map(it => [it, it.getBBox()]));
    const lines = all.filter(it => it.tagName !== 'text' && getComputedStyle(it).stroke !== 'none');
    const points = new Map(lines.map(line => {
      const length = line.getTotalLength(), along = [];
      for (let at = 0; at <= length; at += 1.5) along.push(line.getPointAtLength(at));
      return [line, along];
    }));
    for (const text of all.filter(it => it.tagName === 'text')) {
      const box = boxes.get(text), before = all.indexOf(text);
      for (const line of lines) {
        const after = all.indexOf(line);
        const through = points.get(line).some(point => inside(box, point.x, point.y, 2) &&
          !(after < before && all.slice(after + 1, before).some(
            it => it.tagName === 'rect' && paints(it) && inside(boxes.get(it), point.x, point.y, 0))));
        if (through) { found.push(text.textContent + ' by ' + line.getAttribute('class')); break; }
      }
    }
  }
  return found;
}"""

# Text whose colour is too near to that of its ground (WCAG 2, AA), in pictures too: there its ground is what was painted last.
FAINT = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = channels(colour).slice(0, 3).map(value => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const opaque = colour => colour !== 'none' && !colour.startsWith('url') && (channels(colour)[3] ?? 1) === 1;
  const painted = text => {
    const box = text.getBBox(), x = box.x + box.width / 2, y = box.y + box.height / 2;
    const below = [...text.closest('svg').querySelectorAll('rect')].filter(rect => {
      const area = rect.getBBox();
      return rect.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING && opaque(getComputedStyle(rect).fill)
        && x >= area.x && x <= area.x + area.width && y >= area.y && y <= area.y + area.height;
    });
    return below.length ? getComputedStyle(below.at(-1)).fill : null;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length || element.closest('title')) continue;
    const text = element.closest('text');
    let ground = element;
    while (ground && (channels(getComputedStyle(ground).backgroundColor)[3] ?? 1) < 1) ground = ground.parentElement;
    const one = light(text ? getComputedStyle(element).fill : getComputedStyle(element).color);
    const other = light(text && painted(text) || getComputedStyle(ground ?? document.body).backgroundColor);
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push(contrast.toFixed(2) + ' ' + walker.currentNode.textContent.trim());
  }
  return found;
}"""


# A heading without anything below it says nothing.
EMPTY_CARDS = """() => [...document.querySelectorAll('section')].filter(it =>
  it.innerText.trim() === (it.querySelector('h2') ?? it).innerText.trim() && !it.querySelector('summary')
).map(it => it.innerText)"""


def looks_wrong(page: Page) -> list[str]:
    """Whatever on a page is not as it should be, for an eye that measures."""
    return [complaint for look in (STICKS_OUT, STRUCK_THROUGH, FAINT) for complaint in page.evaluate(look)]


@pytest.mark.parametrize("width", sorted({width for width, _scheme in VIEWS}))
@pytest.mark.parametrize("shape", PAGES)
def test_a_page_is_quiet_whole_and_readable(window: Visit, site: Site, shape: str, width: int) -> None:
    made = shape_pages(shape)
    assert len(made.html.encode()) < 300_000
    seen = visit(window, site, made.html, width)
    for scheme in (scheme for at, scheme in VIEWS if at == width):
        # Somebody switches to the dark while the page is open.
        seen.page.emulate_media(media="null", color_scheme=scheme)
        assert seen.page.locator("header .headline").inner_text() == made.headline
        assert seen.page.locator("header .headline").is_visible()
        box = seen.page.locator("header .headline").bounding_box()
        assert box is not None
        assert box["y"] < 300
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        assert looks_wrong(seen.page) == [], scheme
    assert seen.page.evaluate(EMPTY_CARDS) == []
    assert seen.requests == [site.page] or seen.requests == [site.page, "data:,"]
    assert site.asked == ["/report.html"]
    assert seen.complaints == []


def test_what_is_wrong_on_a_page_is_found(window: Visit, site: Site) -> None:
    """The looks that others rely on see a faint text, two texts on each other, a line through one, one outside."""
    page = """<!DOCTYPE html><body style="background: #fff"><p style="color: #999">faint</p>
        <svg class="picture" viewBox="0 0 100 100" width="100" height="100"><path d="M0 15H100" stroke="#000"/>
        <text x="5" y="20">struck</text><text x="8" y="22">twice</text><text x="90" y="60">outside</text></svg>"""
    seen = visit(window, site, page, SCREEN)
    complaints = " ".join(looks_wrong(seen.page))
    for expected in ("2.85 faint", "struck by", "one on the other: struck / twice", "out of the picture: outside"):
        assert expected in complaints


def test_pictures_of_a_report_are_taken(tmp_path: Path) -> None:
    browser_program()
    folder = tmp_path / "pictures"
    done = subprocess.run([sys.executable, "-m", "lab.screenshots", folder, "refused"], capture_output=True, check=True)
    assert done.stdout.decode() == f"5 pictures in {folder}\n"
    taken = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert set(taken) == {"refused-paper.png", *(f"refused-{width}-{scheme}.png" for width, scheme in VIEWS)}
    assert min(taken.values()) > 10_000


def test_the_picture_fits_the_page(window: Visit, site: Site) -> None:
    """A phone gets a picture of its own, and a list instead of the diagram."""
    for width, shown in ((PHONE, ["picture narrow"]), (SCREEN, ["picture wide", "picture wide"])):
        seen = visit(window, site, shape_pages("switched").html, width)
        visible = seen.page.locator("svg.picture >> visible=true")
        assert [picture.get_attribute("class") for picture in visible.all()] == shown
        assert seen.page.locator("ol.talk").is_visible() is (width == PHONE)


def test_patterns_are_drawn_where_the_wide_picture_is_hidden(window: Visit, site: Site) -> None:
    """What is referred to lies in no hidden picture: Chromium would paint nothing."""
    seen = visit(window, site, shape_pages("plain").html, PHONE)
    hidden = """() => [...document.querySelectorAll('pattern, symbol')].filter(
        it => getComputedStyle(it.closest('svg')).display === 'none').map(it => it.id)"""
    assert seen.page.evaluate(hidden) == []


def test_every_event_is_behind_a_click(window: Visit, site: Site) -> None:
    seen = visit(window, site, shape_pages("switched").html, 1280)
    events = seen.page.locator("table.events tbody tr")
    assert events.count() == len(SWITCHED["timeline"])
    assert not events.first.is_visible()
    seen.page.locator("summary", has_text="events of this run").click()
    assert events.first.is_visible()


MOST_PAPER = {"crowded": 6, "hostile": 12, "long_names": 6}
"""Pages of paper."""


@pytest.mark.parametrize("shape", PAGES)
def test_paper(window: Visit, site: Site, tmp_path: Path, shape: str) -> None:
    most = MOST_PAPER.get(shape, 2 if 'class="picture' not in shape_pages(shape).html else 5)
    seen = visit(window, site, shape_pages(shape).html, PAPER, "dark")
    paper = tmp_path / f"{shape}.pdf"
    seen.page.pdf(path=paper, prefer_css_page_size=True, print_background=True)
    content = paper.read_bytes()
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= most
    assert re.search(rb"/MediaBox\s*\[\s*0 0 59[45](\.\d+)? 84[12](\.\d+)?\s*\]", content), "A4"
    seen.page.emulate_media(media="print")
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert looks_wrong(seen.page) == [], "paper is white, whatever the screen was"


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


def participants(diagram: str) -> list[str]:
    """The names of those who speak, as far as they are plain words."""
    named = re.findall(r"^\s*(?:participant|actor) \w+ as (.+)$", diagram, re.MULTILINE)
    return [part for name in named for part in name.split("<br/>") if re.fullmatch(r"[\w .:,]+", part)]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if "```mermaid" in shape_pages(shape).markdown])
def test_mermaid_draws_the_diagrams(canvas: Visit, shape: str) -> None:
    diagrams = re.findall(r"^```mermaid\n(.*?)^```$", shape_pages(shape).markdown, re.DOTALL | re.MULTILINE)
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
        wanted = ["Ready", "Promoting"] if diagram.startswith("state") else participants(diagram)
        assert wanted
        for text in wanted:
            assert text in shown
        assert canvas.page.locator("#picture script, #picture img").count() == 0
    if shape == "hostile":
        assert "<script>alert(1)</script>" in shown
    assert canvas.complaints == []
