# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report on one failover, as text."""

from __future__ import annotations

DOCUMENTATION = r"""
name: report
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: The report on one failover, as HTML and as Markdown
description:
  - Turns what M(redis_ha.sentinel.failover) returned into a report that a change ticket can carry.
    The role P(redis_ha.sentinel.report#role) writes it to files.
  - Takes a fixed list of fields from the result, none of which is secret, and escapes them. The HTML is one page that needs nothing from elsewhere, and
    no script.
positional: _input
options:
  _input:
    description:
      - What M(redis_ha.sentinel.failover) returned, failed or not. An empty dictionary says that it was not run.
    type: dict
    required: true
  before:
    description:
      - What M(redis_ha.sentinel.health_info) returned before.
    type: dict
    default: {}
  after:
    description:
      - What M(redis_ha.sentinel.health_info) returned after.
    type: dict
    default: {}
  master_name:
    description:
      - Name of the master, as Sentinel knows it. If empty, it is the one that events in the result name.
    type: str
    default: ""
  failure:
    description:
      - What went wrong around the failover, for example the message of a task of your own that spoke against it.
    type: str
    default: ""
  operator:
    description:
      - Who ran it, as it shall be shown.
    type: str
    default: ""
  job:
    description:
      - The job of an automation controller in which it ran, as it shall be shown.
    type: str
    default: ""
  drill:
    description:
      - What the role P(redis_ha.sentinel.drill#role) left in C(drill_result). The report is on that automatic failover then, and the result that of the
        planned move that gave the master back stands beside it.
    type: dict
    default: {}
  title:
    description:
      - Title of the report. If empty, it is made of the master's name.
    type: str
    default: ""
  made_at:
    description:
      - When the report was made, as it shall be shown.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what happened in one sentence
  ansible.builtin.debug:
    msg: "{{ (result | redis_ha.sentinel.report).headline }}"
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    master_name:
      description: Name of the master; empty if it is not known.
      type: str
    headline:
      description: What happened, in one sentence.
      type: str
    html:
      description: The page.
      type: str
    markdown:
      description: The same as Markdown, its diagrams in Mermaid.
      type: str
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report import report as make_report


def report(result: Any, *args: Any, **more: Any) -> dict[str, str]:
    """Make the report on one failover."""
    if not isinstance(result, dict):
        raise AnsibleFilterError(
            f"redis_ha.sentinel.report: what redis_ha.sentinel.failover returned is a dictionary, not {type(result).__name__}"
        )
    return make_report(result, *args, **more)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"report": report}
