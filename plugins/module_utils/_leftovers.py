# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an earlier run, or somebody else, has begun and not ended.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    expected_mismatch,
    fenced_nodes,
    steered_nodes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import is_foreign, known_replicas, other_names
from ansible_collections.redis_ha.sentinel.plugins.module_utils._leaders import find_promoter, fit_leaders
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import FINISH, JOIN, Plan, Repair, refuse
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import FENCED, Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import SentinelView, Snapshot

BEFORE_THE_PROMOTION = ("wait_start", "select_slave", "send_slaveof_noone", "wait_promotion")
"""The states of a failover whose leader has not yet seen the promoted replica become a master."""


def find_repairs(snapshot: Snapshot) -> tuple[Repair, ...]:
    """What an interrupted run left on the nodes."""
    return (*_settings_left(snapshot), *_left_behind(snapshot))


def _settings_left(snapshot: Snapshot) -> tuple[Repair, ...]:
    """Settings that an interrupted run left."""
    repairs = [
        Repair(address, (("replica-priority", priority),)) for address, priority in steered_nodes(snapshot).items()
    ]
    for address, (count, lag) in fenced_nodes(snapshot).items():
        repairs.append(Repair(address, (("min-replicas-to-write", count), ("min-replicas-max-lag", lag))))
    return tuple(repairs)


def _left_behind(snapshot: Snapshot) -> list[Repair]:
    """Replicas in Sentinel's table that follow one that is a replica itself: the master was moved, and they were not told.

    Sentinel leads them to the master, too, after failover-timeout.
    """
    master = snapshot.node(snapshot.master_address)
    if master is None or not master.is_master or snapshot.master_address is None:
        return []
    replicas = {
        snapshot.identity(node.address): node
        for address in known_replicas(snapshot, (snapshot.master_address,))
        if (node := snapshot.node(address)) is not None and node.replication is not None and not node.is_master
    }
    return [
        Repair(node.address, follow=snapshot.master_address)
        for node in replicas.values()
        if node.replication is not None
        and node.replication.master is not None
        and snapshot.identity(node.replication.master) in replicas
    ]


def is_fence(repair: Repair) -> bool:
    """Whether what is left is a fence: writes are refused."""
    return any(name == "min-replicas-to-write" for name, _value in repair.settings)


def in_progress(snapshot: Snapshot) -> Plan | None:
    """Somebody has begun a failover."""
    for view in snapshot.informed_sentinels:
        if view.master is not None and view.master.failover_in_progress:
            return Plan(
                JOIN,
                view.master.address,
                leaders=(view.address,),
                others=known_replicas(snapshot, ()),
                # Whom a replica is to follow is not known before its end.
                repairs=_settings_left(snapshot),
                notes=(
                    f"a failover led by Sentinel {view.address} is in progress ({view.master.failover_state}); it is joined, and none is begun",
                ),
            )
    return None


def begun_by_a_run(snapshot: Snapshot) -> bool:
    """Whether it is shown that an interrupted run of this program began the failovers that are in progress.

    Such a run had made the old master a replica before. Sentinel itself does that last: eight seconds and more after it has seen the promotion, and
    makes it a replica of the one that it promoted. Only in a coordinated failover do the servers do it before.
    """
    led = [view for view in snapshot.informed_sentinels if view.master and view.master.failover_in_progress]
    return bool(led) and all(_demoted_before(snapshot, view) for view in led)


def _demoted_before(snapshot: Snapshot, leader: SentinelView) -> bool:
    if leader.master is None or leader.master.coordinated:
        return False
    old_master = snapshot.node(leader.master.address)
    if old_master is None or old_master.role is None or old_master.is_master:
        return False
    promotion_seen = leader.master.failover_state not in BEFORE_THE_PROMOTION
    return not promotion_seen or not snapshot.same(old_master.role.master, leader.current)


@dataclass(frozen=True)
class News:
    """Some Sentinels name a new master already, and some not yet; they spread it themselves within two seconds.

    Attributes:
        old_master: The master before, which follows the new one.
        promoted: The new master.
        aware: Sentinels that name it.
        epoch: Since which epoch.
    """

    old_master: Address
    promoted: Address
    aware: tuple[Address, ...]
    epoch: int


def news_under_way(snapshot: Snapshot) -> News | None:
    """A new master of which not every Sentinel knows: an interrupted run did not come further, or a Sentinel was away."""
    views = [view for view in snapshot.informed_sentinels if view.master and view.current]
    epochs = {view.master.config_epoch for view in views if view.master}
    if len(epochs) < 2:
        return None
    aware = [view for view in views if view.master and view.master.config_epoch == max(epochs)]
    unaware = [view for view in views if view not in aware]
    promoted, old = aware[0].current, unaware[0].current if unaware else None
    if promoted is None or old is None or snapshot.same(promoted, old):
        return None
    if not all(snapshot.same(v.current, promoted) for v in aware) or not all(
        snapshot.same(v.current, old) for v in unaware
    ):
        return None
    new, former = snapshot.node(promoted), snapshot.node(old)
    if new is None or not new.is_master or former is None or former.role is None:
        return None
    if former.is_master or not snapshot.same(former.role.master, promoted):
        return None
    return News(old, promoted, tuple(view.address for view in aware), max(epochs))


def half_told(snapshot: Snapshot, request: Request) -> Plan | None:
    """An interrupted run had promoted a replica and told some Sentinels, not all.

    A caller who expects the new master to be there knows of a move that has ended: for him it is a Sentinel that was away, and nothing to be finished.

    Raises:
        RefusedError: The caller expects neither of the two.
    """
    news = news_under_way(snapshot)
    if news is None or snapshot.same(request.expected_master, news.promoted):
        return None
    if not _begins_as_expected(snapshot, request, news.old_master, news.promoted):
        raise refuse([expected_mismatch(f"the master is {news.promoted}", request.expected_master)])
    return Plan(
        FINISH,
        news.old_master,
        strategy=FENCED,
        new_master=news.promoted,
        others=known_replicas(snapshot, (news.old_master, news.promoted)),
        leaders=news.aware,
        promotion=PROGRAM,
        promotion_reason="an interrupted run had begun to tell the Sentinels",
        promoted=True,
        epoch=news.epoch,
        down_after_ms=snapshot.down_after_ms,
        repairs=find_repairs(snapshot),
        notes=(f"an interrupted run had promoted {news.promoted} and told some Sentinels; the others are told",),
    )


def _begins_as_expected(snapshot: Snapshot, request: Request, old_master: Address, promoted: Address) -> bool:
    """Whether a move that is to be finished begins at the master that the caller expects, or leads where he asks for.

    A run that was killed as it moved the master on had another master to move than the one that it was given.
    """
    if request.expected_master is None or snapshot.same(request.expected_master, old_master):
        return True
    if request.target is not None:
        return snapshot.same(request.target, promoted)
    return bool(request.avoid) and not snapshot.on_host(promoted, request.avoid)


def half_finished(
    snapshot: Snapshot, request: Request, old_master: Address, repairs: tuple[Repair, ...], deaf: Collection[Address]
) -> Plan | None:
    """An interrupted run had demoted the master and had not yet triggered the failover: no master is left.

    Raises:
        RefusedError: The caller expects another master than the two.
    """
    node = snapshot.node(old_master)
    if node is None or not node.reachable or node.role is None or node.is_master or node.role.master is None:
        return None
    promoted = node.role.master
    candidate = snapshot.node(promoted)
    if candidate is None or not candidate.reachable or is_foreign(snapshot, promoted):
        return None
    followed = candidate.role.master if candidate.role is not None and not candidate.is_master else None
    if followed is not None and not snapshot.same(followed, old_master):
        return None
    expected = _begins_as_expected(snapshot, request, old_master, promoted)
    if not expected and not snapshot.same(request.expected_master, promoted):
        was = f"the master was {old_master}, which an interrupted run has demoted"
        remedy = f"To have that finished, run again with expected_master={old_master}."
        raise refuse([expected_mismatch(was, request.expected_master, remedy)])
    shown = next((address for address in known_replicas(snapshot, ()) if snapshot.same(address, promoted)), promoted)
    who = "a failover under another name" if other_names(snapshot) else "an interrupted run"
    promoter = find_promoter(snapshot, request, shown, fit_leaders(snapshot, shown), deaf)
    return Plan(
        FINISH,
        old_master,
        strategy=FENCED,
        new_master=shown,
        others=known_replicas(snapshot, (old_master, promoted)),
        leaders=promoter.leaders,
        promotion=promoter.by,
        promotion_reason=promoter.reason,
        promoted=candidate.is_master,
        down_after_ms=snapshot.down_after_ms,
        repairs=repairs,
        notes=(f"{who} had demoted {old_master} and left the promotion of {shown} to do; it is finished",),
    )
