# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results that are for programs do not fill the terminal.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WHOLE = 3
"""From how many -v on a person wants to see everything."""


def quiet(result: dict[str, Any], verbosity: int) -> dict[str, Any]:
    """The same result; with one or two -v the terminal shows only how it ended. Nothing is hidden from events, register or a failure."""
    return result if verbosity >= WHOLE else {**result, "_ansible_verbose_override": True}


HOW_IT_ENDED = ("failed", "unreachable", "skipped", "diff")
"""What Ansible itself reads in a result: kept, it would be said, or shown once more, of the task that keeps it."""


def kept(value: Mapping[str, Any]) -> dict[str, Any]:
    """A result of another task, without how that task ended and the diff that it showed."""
    return {key: part for key, part in value.items() if key not in HOW_IT_ENDED}
