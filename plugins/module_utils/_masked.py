# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible has taken out of a result because it looks like a password.

Pure, and small: each process that a role starts reads it. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

MASKS = ("********", "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER")
"""What Ansible puts in the place of a password, wherever its letters stand in a result: in the name of a host, too (``remove_values``)."""


def is_masked(value: object) -> bool:
    """Whether Ansible has taken something out of a value."""
    return isinstance(value, str) and any(mask in value for mask in MASKS)
