# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Sentinels are fit to lead, and who promotes.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Collection

from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import failure
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM, Promoter, choose_promoter
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import SentinelView, Snapshot


def fit_leaders(snapshot: Snapshot, target: Address) -> list[SentinelView]:
    """Sentinels fit to lead, in the order in which they were given: clients ask them in that order, and the one that leads knows first."""
    fit = []
    for view in snapshot.informed_sentinels:
        entry = view.replica(snapshot.aliases(target))
        if (
            entry is not None
            and not entry.down
            and view.quorum_ok
            and not view.tilt
            and not any(peer.down for peer in view.peers)
        ):
            fit.append(view)
    if not fit:
        fit = [
            view
            for view in snapshot.informed_sentinels
            if view.replica(snapshot.aliases(target)) is not None and not view.tilt
        ]
    return fit


def find_promoter(
    snapshot: Snapshot, request: Request, candidate: Address, leaders: list[SentinelView], deaf: Collection[Address]
) -> Promoter:
    """Who promotes.

    Raises:
        RefusedError: The caller wants the program to, and it cannot.
    """
    addresses = [view.address for view in leaders]
    promoter = choose_promoter(snapshot, candidate, addresses, request.promotion, deaf)
    if request.promotion == PROGRAM and promoter.by != PROGRAM:
        raise failure("news_closed", f"the program cannot carry the news: {promoter.reason}")
    return promoter
