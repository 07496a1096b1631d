# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the documentation site below .cache/site: the pages of the checkout, and the reference of plugins and roles as antsibull-docs writes it.

It needs no network, and neither does who reads the site. Every warning is an error, and so is every link to a page, a heading or a picture
that is not there. Links to other sites are listed and not followed: docs_site.py --external shows them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / ".cache" / "site"
# What stands on the site, at the place where it stands in the checkout; so links between pages are the same in both.
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "COPYING", "docs/**/*.md", "docs/images/*", "roles/*/README.md")
SETTINGS = {
    "project": "redis_ha.sentinel",
    "html_title": "redis_ha.sentinel",
    "html_theme": "furo",
    "html_copy_source": False,
    "html_show_copyright": False,
    "html_show_sphinx": False,
    "extensions": ["myst_parser", "sphinx_antsibull_ext", "sphinx.ext.intersphinx"],
    "myst_heading_anchors": 4,
    "pygments_style": "default",
    "root_doc": "index",
}

REFERENCE = "Modules, plugins and roles <reference/index>"
ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
# What the reference refers to in Ansible's own documentation, whose inventory of all pages would have to be fetched.
ANSIBLE_LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "ansible_collections.ansible.builtin.set_fact_module": "collections/ansible/builtin/set_fact_module.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}


def write_ansible_labels(file: Path) -> None:
    """Writes an inventory as Sphinx reads it."""
    lines = "".join(f"{label} std:label -1 {page} {label}\n" for label, page in ANSIBLE_LABELS.items())
    header = b"# Sphinx inventory version 2\n# Project: Ansible\n# Version: \n# The rest is compressed with zlib.\n"
    file.write_bytes(header + zlib.compress(lines.encode()))


def gather(source: Path) -> None:
    """Puts the pages and the reference into one folder. README.md is the first page, and docs/README.md tells what else there is."""
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            copy = source / page.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if page.suffix == ".md":
                copy.write_text(page.read_text().replace("](../README.md", "](../index.md"))
            else:
                shutil.copyfile(page, copy)
    (source / "index.md").write_text((ROOT / "README.md").read_text() + "".join(menus()))
    decisions = source / "docs/decisions/README.md"
    decisions.write_text(
        decisions.read_text() + menu("Decisions", [page for _number, page in links_to_pages(decisions.read_text())])
    )
    reference = source / "reference"
    # antsibull-docs writes only where nobody else may.
    reference.mkdir(mode=0o700)
    words = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--no-add-antsibull-docs-version")
    made = subprocess.run(
        ["antsibull-docs", "collection", *words, "--dest-dir", str(reference), "redis_ha.sentinel"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        sys.exit(made.stdout + made.stderr)
    for page in reference.glob("*.rst"):
        # The theme shows the contents of a page beside it, and says in red that it will not have them in it.
        page.write_text(re.sub(r"^\.\. contents::\n(?: +:.*\n)*", "", page.read_text(), flags=re.MULTILINE))


def menus() -> Iterator[str]:
    """The menus of the site: each heading of docs/README.md with the pages that it links to."""
    yield menu("All pages", ["docs/README"])
    contents = (ROOT / "docs/README.md").read_text()
    for heading, body in re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", contents, re.MULTILINE):
        pages = [f"{title} <{os.path.normpath(f'docs/{page}')}>" for title, page in links_to_pages(body)]
        yield menu(heading, [REFERENCE, *pages] if heading == "Reference" else pages)


def menu(heading: str, pages: list[str]) -> str:
    """What makes pages follow a page, in the words of Sphinx."""
    return "\n".join(["\n```{toctree}", ":hidden:", f":caption: {heading}", *pages, "```", ""])


def links_to_pages(text: str) -> list[tuple[str, str]]:
    """The links of a text to other pages: words, and page without its ending."""
    return re.findall(r"\[([^]]+)\]\(([^)#:]+)\.md\)", text)


class Links(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.add(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def check_links(site: Path) -> tuple[list[str], list[str]]:
    """The dead links of the site, each with its page, and the links that lead elsewhere."""
    pages = {page.resolve(): Links(page) for page in site.rglob("*.html")}
    dead, external = [], set()
    for page, links in pages.items():
        for target in links.targets:
            address = urlsplit(target)
            if address.scheme or address.netloc:
                external.add(target)
                continue
            to = (page.parent / unquote(address.path)).resolve() if address.path else page
            known = to in pages and (not address.fragment or unquote(address.fragment) in pages[to].anchors)
            if not known and (to in pages or not to.exists()):
                dead.append(f"{page.relative_to(site.resolve())}: {target}")
    return sorted(dead), sorted(external)


def main(words: list[str]) -> int:
    """Makes the site; 0 if nothing is to be said against it."""
    html = SITE / "html"
    shutil.rmtree(html, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="redis-ha-site-") as folder:
        source = Path(folder) / "source"
        source.mkdir()
        gather(source)
        labels = Path(folder) / "ansible.inv"
        write_ansible_labels(labels)
        app = Sphinx(
            source,
            None,
            html,
            Path(folder) / "doctrees",
            "html",
            {**SETTINGS, "intersphinx_mapping": {"ansible": (ANSIBLE, str(labels))}},
            status=None,
            exception_on_warning=False,
            warningiserror=True,
            parallel=os.cpu_count() or 1,
        )
        app.build()
    dead, external = check_links(html)
    if dead:
        print("\n".join(["dead links:", *dead]))
    if "--external" in words:
        print("\n".join(["links to other sites, not followed:", *external]))
    print(f"{html}/index.html")
    return app.statuscode or bool(dead)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
