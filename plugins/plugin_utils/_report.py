# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report on one failover, from what the modules returned.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import render
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import clean, read_run


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
) -> dict[str, str]:
    """Both pages, the headline, and the name of the master."""
    run = read_run(result, before, after, master_name, failure, operator, job)
    pages = render(run, clean(title, 200), clean(made_at, 60))
    return {
        "master_name": run.master_name,
        "headline": pages.headline,
        "html": pages.html,
        "markdown": pages.markdown,
    }
