# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report on one failover, from what the modules returned, and the one on a fleet, from what its deployments handed on.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils import _fleet
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_drill import read_drill
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import Pages, fill, render
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import Run, clean, read_run
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_words import GOOD, NEUTRAL


def report(
    result: Any,
    before: Any = None,
    after: Any = None,
    master_name: str = "",
    failure: str = "",
    title: str = "",
    made_at: str = "",
    operator: str = "",
    job: str = "",
    drill: Any = None,
) -> dict[str, str]:
    """Both pages, the headline, and the name of the master.

    Args:
        drill: What the role drill made of an automatic failover; the page is about that then, and ``result`` is the planned move beside it.
    """
    run = read_run(result, before, after, master_name, failure, operator, job)
    pages = _pages(run, drill, clean(title, 200), clean(made_at, 60))
    return {
        "master_name": run.master_name,
        "headline": pages.headline,
        "html": pages.html,
        "markdown": pages.markdown,
    }


def _pages(run: Run, drill: Any, title: str, made_at: str) -> Pages:
    if not isinstance(drill, Mapping) or not drill:
        return render(run, title, made_at)
    page = read_drill(drill, run)
    title = title or f"Drill of {run.master_name or 'a master'}"
    return fill("drill", page.headline, {"page": page, "run": run, "title": title, "made_at": made_at})


def fleet_report(
    entries: Sequence[Any],
    expected: Sequence[str] = (),
    title: str = "",
    made_at: str = "",
    operator: str = "",
    job: str = "",
) -> dict[str, Any]:
    """Both pages, the headline, the lines for the terminal, and whether nothing is left to do.

    Args:
        entries: What each deployment handed on.
        expected: The deployments that it is about; one without an entry has not begun.
    """
    deployments = _fleet.read(entries, expected)
    words = _fleet.in_words(deployments)
    about = (("Run by", clean(operator, 120)), ("Job", clean(job, 200)))
    context = {
        "deployments": deployments,
        "page": words,
        "title": clean(title, 200) or "Fleet under Sentinel",
        "made_at": clean(made_at, 60),
        "about": [(label, value) for label, value in about if value],
        # The reports stand in one folder: a link that leads nowhere else.
        "links": {it.name: PurePath(it.report).name for it in deployments if it.report},
    }
    pages = fill("fleet", words.headline, context)
    return {
        "headline": pages.headline,
        "done": words.tone in (GOOD, NEUTRAL),
        "lines": _fleet.lines(deployments),
        "html": pages.html,
        "markdown": pages.markdown,
    }
