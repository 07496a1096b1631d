# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of health_info, as lines for a person."""

from __future__ import annotations

DOCUMENTATION = r"""
name: check_lines
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: Checks as lines that a person can read
description:
  - Turns the checks that M(redis_ha.sentinel.health_info) returns into lines, what failed first, each with what to do about it.
positional: _input
options:
  _input:
    description:
      - RV(redis_ha.sentinel.health_info#module:checks) of M(redis_ha.sentinel.health_info).
    type: list
    elements: dict
    required: true
  waivers:
    description:
      - Names of checks whose failure is accepted. They are shown as waived.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what was found
  ansible.builtin.debug:
    msg: "{{ before.checks | redis_ha.sentinel.check_lines }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable

WIDTH = 110

_LABELS = {"failed": "FAILED", "waived": "waived", "warning": "warning"}


def check_lines(checks: Sequence[Mapping[str, str]], waivers: Iterable[str] = ()) -> list[str]:
    """What failed, what was waived, what is only a warning; and the names of what is well."""
    waived = set(waivers)
    groups: dict[str, list[Mapping[str, str]]] = {"failed": [], "waived": [], "warning": [], "fine": []}
    for check in checks:
        groups[_group(check, waived)].append(check)
    lines = [line for group in _LABELS for check in groups[group] for line in _check(_LABELS[group], check)]
    fine = list(dict.fromkeys(check["name"] for check in groups["fine"]))
    if fine:
        lines += _wrapped("ok", f"{len(fine)} checks: {', '.join(fine)}")
    unused = sorted(waived - {check["name"] for check in groups["waived"]})
    if unused:
        lines += _wrapped("note", f"waivers of which nothing made use: {', '.join(unused)}")
    return lines


def _group(check: Mapping[str, str], waived: set[str]) -> str:
    if check["status"] == "critical":
        return "waived" if check["name"] in waived else "failed"
    return "warning" if check["status"] == "warning" else "fine"


def _check(label: str, check: Mapping[str, str]) -> list[str]:
    lines = _wrapped(label, f"{check['name']}: {check['detail']}")
    return lines + (_wrapped("", f"What to do: {check['remedy']}") if check["remedy"] else [])


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{label:<9}",
        subsequent_indent=" " * 9,
        break_long_words=False,
        break_on_hyphens=False,
    )


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """By name."""
        return {"check_lines": check_lines}
