# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host of the inventory a server stands on.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._names import listed

ADDRESS = "redis_ha_address"
"""The variable of a host that says how Sentinel shows it, where that is neither its name nor its ``ansible_host``."""


def host_addresses(hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Inventory host -> the names and addresses by which Sentinel may show it.

    Args:
        hostvars: The variables of each host of the inventory.
    """
    return {
        str(name): list(
            dict.fromkeys([*listed(values.get(ADDRESS)), *listed(values.get("ansible_host")), str(name)]),
        )
        for name, values in ((name, hostvars[name]) for name in hostvars)
    }


def host_part(address: str) -> str:
    """The host of ``host:port``, as it is compared: without brackets, in small letters."""
    return address.rpartition(":")[0].strip("[]").lower()


def host_of(address: str, hosts: Mapping[str, Iterable[str]]) -> str:
    """The inventory host on which a server stands; empty if none is known to.

    Args:
        address: The server as ``host:port``.
        hosts: What ``host_addresses`` returned.
    """
    wanted = host_part(address)
    return next(
        (name for name, known in hosts.items() if wanted in {text.strip("[]").lower() for text in known}),
        "",
    )
