# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Situations for tests of the checks: a healthy deployment before and after its master was moved, and ways to hurt it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health import examine
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import (
    AFTER,
    BEFORE,
    Baseline,
    Evidence,
    Situation,
    Thresholds,
    parse_baseline,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._views import deployment_view
from unit.builders import (
    L0,
    L1,
    L2,
    OM,
    R,
    S,
    master_entry,
    master_node,
    replica_entry,
    replica_node,
    sentinel_view,
    snapshot,
)

GONE = Address("10.0.0.9", 6379)
"""A node that the Sentinels do not know, or that is dead."""


def dead(view: SentinelView) -> SentinelView:
    """The same Sentinel, if it could not be asked."""
    return SentinelView(view.address, error="Connection refused", error_code="unreachable")


def unreachable(address: Address, code: str = "unreachable", error: str = "Connection refused") -> NodeView:
    """A node that could not be asked."""
    return NodeView(address, error=error, error_code=code)


def views(**changes: Any) -> list[SentinelView]:
    """The three Sentinels of a healthy deployment, all changed in the same way."""
    return [sentinel_view(address, **changes) for address in (L0, L1, L2)]


def with_view(index: int, **changes: Any) -> list[SentinelView]:
    """The three Sentinels of a healthy deployment, one of them changed."""
    return [replace(view, **changes) if position == index else view for position, view in enumerate(views())]


def nodes(*changed: NodeView) -> list[NodeView]:
    """The three nodes of a healthy deployment, some of them changed."""
    known = {node.address: node for node in (master_node(), replica_node(R), replica_node(S), *changed)}
    return list(known.values())


def evidence(snapshot: Snapshot, **changes: Any) -> Evidence:
    """What a healthy deployment answers to the further questions."""
    reachable = [node for node in snapshot.nodes if node.reachable]
    fields: dict[str, Any] = {
        "held": {node.address: "" for node in reachable},
        "logins": {
            (follower.address, leader.address): ""
            for follower in reachable
            for leader in reachable
            if leader is not follower and not leader.is_master
        },
        "sentinel_refused": {node.address: {"default": ()} for node in reachable},
        "later": {node.address: node.replication for node in reachable if node.replication is not None},
        "write_rate_bytes_s": 0.0,
    }
    return Evidence(**{**fields, **changes})


def before(
    sentinels: Iterable[SentinelView] | None = None,
    nodes: Iterable[NodeView] | None = None,
    *,
    baseline: Baseline | None = None,
    thresholds: dict[str, Any] | None = None,
    **changed_evidence: Any,
) -> Situation:
    """Before the master was moved; healthy but for what is given."""
    seen = snapshot(sentinels, nodes)
    return Situation(seen, evidence(seen, **changed_evidence), Thresholds(**(thresholds or {})), baseline)


COUNTERS = {"loading": "0", "sync_full": "0", "sync_partial_ok": "0"}

BASELINE = parse_baseline(deployment_view(snapshot(nodes=nodes(replica_node(R, info=COUNTERS)))))
"""What was seen before: OM was the master, configuration epoch 1, offset 1000; R had served nobody."""

MOVED = {"replid": "b" * 40, "replid2": "a" * 40, "second_offset": 1201, "offset": 1300, "applied_offset": 1300}


def new_master(**changes: Any) -> NodeView:
    """R, promoted at offset 1200; it has served two partial synchronisations since the baseline."""
    link = {**MOVED, "master": None, **changes.pop("link", {})}
    info = {"loading": "0", "sync_full": "0", "sync_partial_ok": "2", **changes.pop("info", {})}
    return master_node(R, link=link, info=info, **changes)


def follower(address: Address, **changes: Any) -> NodeView:
    """A replica of R."""
    link = {**MOVED, "master": R, **changes.pop("link", {})}
    return replica_node(address, link=link, **changes)


def views_after(**changes: Any) -> list[SentinelView]:
    """The three Sentinels of a healthy deployment after R was promoted."""
    fields = {
        "master": master_entry(address=R, config_epoch=2),
        "current": R,
        "replicas": (replica_entry(OM, master=R), replica_entry(S, master=R)),
    }
    return views(**{**fields, **changes})


def nodes_after(*changed: NodeView) -> list[NodeView]:
    """The three nodes after R was promoted, some of them changed."""
    known = {node.address: node for node in (follower(OM), new_master(), follower(S), *changed)}
    return list(known.values())


def after(
    sentinels: Iterable[SentinelView] | None = None,
    nodes: Iterable[NodeView] | None = None,
    *,
    baseline: Baseline | None = BASELINE,
    thresholds: dict[str, Any] | None = None,
    **changed_evidence: Any,
) -> Situation:
    """After R was promoted; healthy but for what is given."""
    seen = snapshot(views_after() if sentinels is None else sentinels, nodes_after() if nodes is None else nodes)
    return Situation(seen, evidence(seen, **changed_evidence), Thresholds(**(thresholds or {})), baseline)


@dataclass(frozen=True)
class Case:
    """One row of a table: the named check finds exactly this; a remedy that is ``None`` is not compared."""

    id: str
    name: str
    situation: Situation
    status: str
    details: tuple[str, ...]
    remedy: str | None = None
    phase: str = BEFORE

    def found(self) -> list[Check]:
        """What the check finds that is not ok, or the ok ones if nothing is wrong."""
        checks = [check for check in examine(self.situation, self.phase) if check.name == self.name]
        return [check for check in checks if check.status != "ok"] or checks

    def verify(self) -> None:
        """Compare."""
        found = self.found()
        details = [check.detail for check in found]
        assert details == list(self.details), f"found: {details}"
        statuses = {check.status for check in found}
        assert statuses == {self.status}, f"found: {statuses}"
        for check in found:
            assert bool(check.remedy) == (self.status != "ok"), f"a remedy belongs to what is wrong: {check}"
        assert self.remedy in (None, found[0].remedy), f"found: {found[0].remedy}"


def case_after(**fields: Any) -> Case:
    """A row of the phase after."""
    return Case(**fields, phase=AFTER)
