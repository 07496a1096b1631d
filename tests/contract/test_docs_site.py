# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check of the documentation site finds links that lead nowhere."""

from __future__ import annotations

from pathlib import Path

from tools.docs_site import check_links, links_to_pages, menu


def test_dead_links_are_found_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "picture.svg").touch()
    (tmp_path / "docs/other.html").write_text('<h1 id="here">x</h1><a href="../index.html">x</a>')
    (tmp_path / "index.html").write_text(
        '<a href="docs/other.html#here">x</a><img src="picture.svg"><a href="#top"></a><p id="top"></p>'
        '<a href="docs/other.html#gone">x</a><a href="gone.html">x</a><img src="gone.svg"><a href="#gone">x</a>'
        '<a href="https://example.org/x">x</a>'
    )
    dead, external = check_links(tmp_path)
    assert dead == ["index.html: " + target for target in ("#gone", "docs/other.html#gone", "gone.html", "gone.svg")]
    assert external == ["https://example.org/x"]


def test_a_menu_has_the_pages_that_are_linked_to() -> None:
    text = "- [A page](a.md): words, [a heading](b.md#x), [elsewhere](https://example.org/c.md), ![picture](d.svg)"
    assert links_to_pages(text) == [("A page", "a")]
    assert menu("Start", ["A page <docs/a>"]) == "\n```{toctree}\n:hidden:\n:caption: Start\nA page <docs/a>\n```\n"
