# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages themselves: complete, self-contained, and unmoved by hostile text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.redis_ha.sentinel.plugins.filter.report import FilterModule, report
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import (
    Pages,
    code,
    escape_markdown,
    render,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import read_run
from markdown_it import MarkdownIt
from unit.report_runs import EVERY_KIND, NEW, OLD, PLAIN, PLANNED, SWITCHED, WAY_BACK, Result, checks, run
from unit.report_shapes import HOSTILE, hostile

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class Elements(HTMLParser):
    """Every element and attribute of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def pages(result: Result, **more: Any) -> Pages:
    return render(read_run(result, checks(warned=("quorum",)), checks(), **more), made_at="2026-11-22 18:20:31 UTC")


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_page_says_what_happened_first(kind: str) -> None:
    made = pages(EVERY_KIND[kind])
    seen = Elements(made.html)
    assert made.headline in " ".join(seen.text.split())
    rendered = Elements(MARKDOWN.render(made.markdown)).text
    assert made.headline in rendered
    assert rendered.index(made.headline) < 200
    assert len(made.html.encode()) < 300_000


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_page_needs_nothing_else(kind: str) -> None:
    page = pages(EVERY_KIND[kind]).html
    seen = Elements(page)
    assert not {"script", "iframe", "object", "embed", "img", "form", "base"} & set(seen.tags)
    assert {value for name, value in seen.attributes if name in ("src", "href")} <= {
        "data:,",
        *(f"#{symbol}" for symbol in re.findall(r'<symbol id="([^"]+)"', page)),
    }
    assert not [name for name, _value in seen.attributes if name == "style" or name.startswith("on")]
    assert re.findall(r"url\(([^)]*)\)", page) == [
        reference for reference in re.findall(r"url\((#[\w-]+)\)", page) if f'id="{reference[1:]}"' in page
    ]


def test_the_policy_allows_this_style_sheet_and_nothing_else() -> None:
    page = pages(SWITCHED).html
    policy = dict(Elements(page).attributes)
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    allowed = next(value for name, value in Elements(page).attributes if name == "content" and "default-src" in value)
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert (
        allowed
        == f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert len(style) == 1


def test_ids_are_there_once() -> None:
    ids = Counter(value for name, value in Elements(pages(SWITCHED).html).attributes if name == "id")
    assert set(ids.values()) == {1}


@pytest.mark.parametrize("kind", ["switched", "incomplete", "planned", "refused", "rolled_back"])
def test_hostile_text_stays_text_in_html(kind: str) -> None:
    result, tame = hostile(EVERY_KIND[kind]), EVERY_KIND[kind]
    bad = hostile(checks(warned=("quorum",)))
    page = render(read_run(result, bad, bad, HOSTILE, HOSTILE), HOSTILE, HOSTILE).html
    seen, normal = Elements(page), Elements(pages(tame).html)
    assert set(seen.tags) <= set(normal.tags) | {"p", "ol", "li", "span", "br"}
    assert {name for name, _value in seen.attributes} <= {name for name, _value in normal.attributes} | {"class"}
    assert "script" not in seen.tags
    assert HOSTILE in seen.text
    assert "49" not in page.split("7*7", 1)[1][:5], "nothing is templated twice"


@pytest.mark.parametrize("kind", ["switched", "incomplete", "planned", "refused", "rolled_back"])
def test_hostile_text_stays_text_in_markdown(kind: str) -> None:
    result, tame = hostile(EVERY_KIND[kind]), EVERY_KIND[kind]
    bad = hostile(checks(warned=("quorum",)))
    page = render(read_run(result, bad, bad, HOSTILE, HOSTILE), HOSTILE, HOSTILE).markdown
    seen, normal = Elements(MARKDOWN.render(page)), Elements(MARKDOWN.render(pages(tame).markdown))
    assert set(seen.tags) <= set(normal.tags) | {"p", "ol", "li"}
    assert not {"a", "img", "script"} & set(seen.tags)
    # No block of code ends early.
    assert (seen.tags["pre"], seen.tags["table"]) == (normal.tags["pre"], normal.tags["table"])
    # No cell of a table ends early, and no text is taken for markup.
    for cell in re.findall(r"<td[^>]*>(.*?)</td>", MARKDOWN.render(page), re.DOTALL):
        text = Elements(cell).text.replace("¦", "|")
        assert text.count("alert(1)") == text.count(HOSTILE)


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("a_b *c* `d`", "a_b \\*c\\* \\`d\\`"),
        ("history_kept", "history_kept"),
        ("_a_ a__b __x__", "\\_a\\_ a\\_\\_b \\_\\_x\\_\\_"),
        ("<b> & [x](y)", "&lt;b&gt; &amp; \\[x\\](y)"),
        ("1. one", "&#49;. one"),
        ("1.00 s", "1.00 s"),
        ("- one", "&#45; one"),
        (
            "@all see https://evil.example or www.evil.example",
            "&#64;all see https:&#47;/evil.example or www&#46;evil.example",
        ),
        (None, ""),
        (12, "12"),
    ],
)
def test_markdown_is_escaped(raw: object, escaped: str) -> None:
    assert escape_markdown(raw) == escaped


@pytest.mark.parametrize(
    ("raw", "shown"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("a|b", "`a¦b`"), ("", "")]
)
def test_code_is_fenced(raw: str, shown: str) -> None:
    assert code(raw) == shown


def test_mermaid_sees_no_sign_of_the_data() -> None:
    page = render(read_run(hostile(SWITCHED), None, None, HOSTILE)).markdown
    diagrams = re.findall(r"^```mermaid\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(diagrams) == 2
    for diagram in diagrams:
        for line in diagram.splitlines():
            assert not set(re.sub(r"#\d+;|<br/>|\[\*\]", "", line)) & set("<&`%@;#'*|[]"), line


def test_the_filter() -> None:
    made = report(SWITCHED, checks(), checks(), title="CHG0031337")
    assert made["master_name"] == "orders"
    assert made["headline"].startswith(f"orders was moved from {OLD} to {NEW}")
    assert "<h1>CHG0031337</h1>" in made["html"]
    assert made["markdown"].startswith("# CHG0031337\n")
    assert FilterModule().filters() == {"report": report}


def test_the_filter_refuses_what_is_no_result() -> None:
    with pytest.raises(AnsibleFilterError, match="is a dictionary, not list"):
        report([])


def test_names_of_checks_and_options_have_no_backslash() -> None:
    page = render(read_run(run("switched", request={"expected_master": OLD}), checks("replica_fit"), None)).markdown
    assert "`replica_fit`" in page
    assert "expected_master" in page
    assert "\\_" not in page


def test_when_by_whom_with_what_and_how_to_go_back() -> None:
    made = render(read_run(SWITCHED, operator="mara", job="4711 Move a master"))
    for shown in (
        "2026-11-27 01:02:03.456 UTC",
        "2026-11-27 01:02:04.492 UTC",
        "2026-11-27 01:02:04.618 UTC",
        "mara",
        "4711 Move a master",
        "orders: target any; leave 192.0.2.21; expected any",
        "avoid: 192.0.2.21; strategy: auto; timeout: 120",
        "redis 7.0.15, all 6 servers",
        "this run: every Sentinel listens to the news",
    ):
        assert shown in Elements(made.html).text, shown
        assert shown in Elements(MARKDOWN.render(made.markdown)).text, shown
    assert WAY_BACK in Elements(made.html).text
    assert f"```shell\n{WAY_BACK}\n```" in made.markdown


def test_an_old_result_has_a_report_too() -> None:
    """What later versions added may be missing."""
    added = {
        *("started_at", "fenced_at", "ended_at", "promotion", "promotion_reason", "server_versions", "request"),
        *("way_back", "understood"),
    }
    made = render(read_run({key: value for key, value in SWITCHED.items() if key not in added}))
    assert "No acknowledged write was lost; writes stood still for 12 ms." in made.headline
    assert "The way back" not in made.html + made.markdown


@pytest.mark.parametrize("made", [pages(PLAIN).html, pages(PLAIN).markdown], ids=["html", "markdown"])
def test_a_full_resynchronisation_after_a_loss_is_discarded_history(made: str) -> None:
    assert made.count("its own history was discarded") == 2


def test_a_plan_has_no_section_without_content() -> None:
    page = pages(PLANNED).html
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Plan", "Checks before", "Checks after", "About this run"]


def test_markdown_tells_the_milliseconds_of_each_step() -> None:
    assert (
        "fence 0, catch up +0.8 ms, demote +1.7 ms, trigger +2.9 ms, promote +3.8 ms, announce +7.0 ms, agree +12 ms"
        in Elements(MARKDOWN.render(pages(SWITCHED).markdown)).text
    )
