# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is still missing after servers were away: nodes and Sentinels that are not back, not in sync, or not seen by every Sentinel.

Pure: no sockets, no clock. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._patience import (
    STALLED,
    TIMED_OUT,
    Patience,
    in_vain,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, ReplicaEntry, Replication
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import (
    NodeView,
    SentinelView,
    Snapshot,
    lag_bytes,
)

ERRORS = {STALLED: "servers_stalled", TIMED_OUT: "servers_timeout"}

SHOWN = 3
"""How many of the missing things one line shows."""

SILENT = "Start it, or mend the way to it. What the maintenance did to it is the first thing to look at."
TIME = "It needs nothing but time. If it stays so, read its log and the master's."
AGREE = "The Sentinels level that out by themselves within half a minute. If they do not, look with topology_info."


@dataclass(frozen=True)
class Expected:
    """The servers of one master that are to be there."""

    nodes: tuple[Address, ...] = ()
    sentinels: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Missing:
    """One thing that is waited for: of which master, at which server, what, and what helps if it stays so."""

    master_name: str
    server: str
    detail: str
    remedy: str

    def as_result(self) -> dict[str, Any]:
        return {
            "master_name": self.master_name,
            "server": self.server or None,
            "detail": self.detail,
            "remedy": self.remedy,
        }

    @property
    def sentence(self) -> str:
        return f"{self.master_name}: {f'{self.server} {self.detail}' if self.server else self.detail}"


def everything(snapshot: Snapshot) -> Expected:
    """All servers that are known now."""
    return Expected(tuple(node.address for node in snapshot.nodes), tuple(view.address for view in snapshot.sentinels))


def missing(snapshot: Snapshot, expected: Expected, max_lag_bytes: int) -> list[Missing]:
    """What is not yet as it is to be, of one master.

    Args:
        snapshot: What everybody says.
        expected: Who is to be there.
        max_lag_bytes: How far behind the master a replica may be.
    """
    name = snapshot.master_name
    rows = []
    if snapshot.master_address is None:
        rows.append(Missing(name, "", "the Sentinels do not name one master", AGREE))
    for address in expected.nodes:
        detail, remedy = _of_node(snapshot, snapshot.node(address), address, max_lag_bytes)
        rows += [Missing(name, str(address), detail, remedy)] if detail else []
    for address in expected.sentinels:
        detail, remedy = _of_sentinel(snapshot, expected, address)
        rows += [Missing(name, str(address), detail, remedy)] if detail else []
    return rows


def _of_node(snapshot: Snapshot, node: NodeView | None, address: Address, max_lag_bytes: int) -> tuple[str, str]:
    """What is missing at a node, and what helps; nothing, where all is well."""
    if node is None:
        return "is listed by no Sentinel", TIME
    if not node.reachable or node.replication is None:
        return f"does not answer ({node.error})", SILENT
    if node.info.get("loading", "0") != "0":
        return "loads its data", TIME
    if snapshot.same(address, snapshot.master_address):
        return ("", "") if node.replication.is_master else ("is named as master and is none yet", AGREE)
    return _of_replica(snapshot, node.replication, max_lag_bytes)


def _of_replica(snapshot: Snapshot, replication: Replication, max_lag_bytes: int) -> tuple[str, str]:
    if replication.is_master:
        return "says that it is a master", AGREE
    if not snapshot.same(replication.master, snapshot.master_address):
        return f"follows {replication.master}", AGREE
    if replication.sync_in_progress:
        return f"is in a full synchronisation, {max(0, replication.sync_read_bytes):,} bytes received", TIME
    if not replication.link_up:
        return "has no link to its master", TIME
    behind = lag_bytes(snapshot, replication) or 0
    return (f"is {behind:,} bytes behind", TIME) if behind > max_lag_bytes else ("", "")


def _of_sentinel(snapshot: Snapshot, expected: Expected, address: Address) -> tuple[str, str]:
    """What is missing at a Sentinel, and what helps; nothing, where all is well."""
    view = next((view for view in snapshot.sentinels if snapshot.same(view.address, address)), None)
    if view is None:
        return "is a Sentinel that no other lists", TIME
    if not view.reachable:
        return f"is a Sentinel that does not answer ({view.error})", SILENT
    if view.master is None:
        return "is a Sentinel that does not know this master", TIME
    if view.master.failover_in_progress:
        return "is a Sentinel that leads a failover", AGREE
    if view.master.flags & {"s_down", "o_down", "disconnected"}:
        return "is a Sentinel that sees the master down", AGREE
    unseen = _unseen_by(snapshot, view, expected)
    if unseen:
        return f"is a Sentinel that does not see {', '.join(map(str, unseen))} up yet", TIME
    return ("", "") if view.quorum_ok else (f"is a Sentinel without a quorum: {view.quorum_detail}", AGREE)


def _unseen_by(snapshot: Snapshot, view: SentinelView, expected: Expected) -> list[Address]:
    """The expected servers that a Sentinel does not list, or does not see up."""
    fit = [entry.address for entry in view.replicas if _is_up(entry)]
    others = [entry.address for entry in view.peers if not entry.down]
    replicas = [address for address in expected.nodes if not snapshot.same(address, snapshot.master_address)]
    sentinels = [address for address in expected.sentinels if not snapshot.same(address, view.address)]
    return [address for address in replicas if not _among(snapshot, address, fit)] + [
        address for address in sentinels if not _among(snapshot, address, others)
    ]


def _is_up(entry: ReplicaEntry) -> bool:
    return not entry.down and entry.link_up


def _among(snapshot: Snapshot, address: Address, others: Iterable[Address]) -> bool:
    return any(snapshot.same(address, other) for other in others)


def mark(snapshots: Mapping[str, Snapshot], rows: Iterable[Missing]) -> str:
    """A text that changes whenever something moves."""
    received = [
        node.replication.sync_read_bytes
        for snapshot in snapshots.values()
        for node in snapshot.nodes
        if node.replication is not None and node.replication.sync_in_progress
    ]
    return f"{received} " + " | ".join(row.sentence for row in rows)


# ---- how long it is worth waiting, and what is told meanwhile ------------------------------------------------------------


class Watch(Patience):
    """Decides, look after look, whether to wait on and what a person should be told.

    Args:
        timeout_s: The longest time to wait in all.
        stall_timeout_s: The longest time to wait while nothing moves.
        report_interval_s: How often a line is shown while nothing changes.
    """

    def __init__(self, timeout_s: float, stall_timeout_s: float, report_interval_s: float = 10.0) -> None:
        super().__init__(timeout_s, stall_timeout_s)
        self._report_interval_s = report_interval_s
        self._told: tuple[str, float] = ("", 0.0)

    def look(self, now_s: float, result: Mapping[str, Any]) -> tuple[str, list[str]]:
        """Take in one look, a result of ``wait_for_servers``.

        Returns:
            ``settled``, ``wait``, ``stalled`` or ``timed_out``; and the line to show, if there is one.
        """
        return self.verdict(now_s, result), self._lines(now_s, result)

    def _lines(self, now_s: float, result: Mapping[str, Any]) -> list[str]:
        text = short(result["missing"]) if result["missing"] else "everything is back"
        told, told_s = self._told
        if text == told and now_s - told_s < self._report_interval_s:
            return []
        self._told = (text, now_s)
        return [f"{self.waited_s(now_s):7.1f} s  {'waits: ' if result['missing'] else ''}{text}"]


def short(rows: Iterable[Mapping[str, Any]]) -> str:
    """The first of what is missing, in one line."""
    texts = [Missing(row["master_name"], row["server"] or "", row["detail"], "").sentence for row in causes_first(rows)]
    more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more


def causes_first(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Who does not answer comes before who does not see him, and each server once before one is named for another master."""
    named: Counter[str] = Counter()
    ranked = []
    for row in rows:
        ranked.append((row.get("remedy") != SILENT, named[row["server"] or ""], row))
        named[row["server"] or ""] += bool(row["server"])
    return [row for _late, _times, row in sorted(ranked, key=lambda it: it[:2])]


def gave_up(verdict: str, result: Mapping[str, Any], waited_s: float) -> dict[str, Any]:
    """What a result says besides when the wait ended in vain."""
    missing_rows = causes_first(result["missing"])
    return in_vain(verdict, ERRORS, short(missing_rows), (row["remedy"] for row in missing_rows), waited_s)
