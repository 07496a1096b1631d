# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pictures of the reports on every kind of run, to be looked at.

``python -m lab.screenshots FOLDER [KIND ...]`` writes one PNG for each kind, width and colour scheme, and one as it is printed.
``python -m lab.screenshots --of REPORT.html PICTURE.png`` writes what a screen shows of a report first: the picture in the README is one of a
real run.
"""

from __future__ import annotations

import argparse
import ctypes.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright
from unit.report_shapes import PAGES, shape_pages

from lab.errors import NotToBeHadError

# No sandbox: tests run as root. The rest keeps the browser from talking to anybody.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Scheme = Literal["light", "dark"]

PHONE, SCREEN = 390, 1280
FIRST_SIGHT = 900
VIEWS: tuple[tuple[int, Scheme], ...] = ((PHONE, "light"), (PHONE, "dark"), (SCREEN, "light"), (SCREEN, "dark"))
PAPER = 695
"""The width of A4 without its margins, in pixels."""


def browser_program() -> str:
    """The browser of this machine.

    Raises:
        NotToBeHadError: It has none, or not the library that its driver needs.
    """
    program = shutil.which("chromium")
    if program is None or ctypes.util.find_library("atomic") is None:
        raise NotToBeHadError("no browser to look at reports with: sudo apt-get install chromium libatomic1")
    return program


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine, running.

    Raises:
        NotToBeHadError: It has none, or not the library that its driver needs.
    """
    program = browser_program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def take(browser: Browser, shape: str, folder: Path) -> None:
    """Take all pictures of one report."""
    html = shape_pages(shape).html
    for width, scheme in VIEWS:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.set_content(html)
        page.screenshot(path=folder / f"{shape}-{width}-{scheme}.png", full_page=True)
        page.close()
    page = browser.new_page(viewport={"width": PAPER, "height": 1000})
    page.set_content(html)
    page.emulate_media(media="print")
    page.screenshot(path=folder / f"{shape}-paper.png", full_page=True)
    page.close()


def first_sight(browser: Browser, report: Path, picture: Path) -> None:
    """Take what a screen shows of a report before anybody scrolls."""
    page = browser.new_page(viewport={"width": SCREEN, "height": FIRST_SIGHT}, color_scheme="light")
    page.set_content(report.read_text())
    page.screenshot(path=picture)
    page.close()


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m lab.screenshots", description="Pictures of the reports.")
    parser.add_argument("folder", type=Path, help="where to write them; it is made if it does not exist")
    parser.add_argument("kind", nargs="*", default=sorted(PAGES), help=f"of {', '.join(sorted(PAGES))}")
    parser.add_argument(
        "--of", type=Path, help="take a picture of this report alone, and write it to the file that is given as folder"
    )
    asked = parser.parse_args()
    if asked.of:
        with chromium() as browser:
            first_sight(browser, asked.of, asked.folder)
        return
    unknown = set(asked.kind) - set(PAGES)
    if unknown:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for shape in asked.kind:
            take(browser, shape, asked.folder)
    print(f"{(len(VIEWS) + 1) * len(asked.kind)} pictures in {asked.folder}")


if __name__ == "__main__":
    main()
