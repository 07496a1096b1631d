# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far each replica has come in following the master, from one snapshot; and how long it is worth waiting for it.

Pure: no sockets, no clock. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import CRITICAL, Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import own_nodes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._patience import (
    STALLED,
    TIMED_OUT,
    Patience,
    in_vain,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Replication
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot

IN_SYNC = "in_sync"
CATCHING_UP = "catching_up"
WAITING_FOR_SNAPSHOT = "waiting_for_snapshot"
FULL_SYNC = "full_sync"
LOADING = "loading"
CONNECTING = "connecting"
LINK_DOWN = "link_down"
FOLLOWS_ANOTHER = "follows_another"
IS_MASTER = "is_master"
UNREACHABLE = "unreachable"

AGREED = "agreed"
NAMES_ANOTHER = "names_another"
FAILOVER_IN_PROGRESS = "failover_in_progress"

ERRORS = {STALLED: "replicas_stalled", TIMED_OUT: "replicas_timeout"}

_WAITS_FOR_SNAPSHOT = {"wait_bgsave"}
"""What a master calls a replica for which it is still saving its data."""

_REMEDIES = {
    UNREACHABLE: "Start it, or mend the way to it; it then follows by itself. If it is gone for good, let Sentinel forget it "
    "(SENTINEL RESET on one Sentinel after the other, at least 30 s apart, never during a failover).",
    IS_MASTER: "Sentinel makes it a replica within half a minute, and what only it has is thrown away then: save it first if it may matter. "
    "If Sentinel does not: "
    "REPLICAOF {master} and CONFIG REWRITE on this node.",
    FOLLOWS_ANOTHER: "Sentinel reconfigures it when it has been up for failover-timeout. If it does not, and nothing is wanted that only it has: "
    "REPLICAOF {master} "
    "and CONFIG REWRITE on this node.",
    LINK_DOWN: "Read its log and the master's: most often masterauth or masteruser is wrong, or the way to {master} is blocked.",
    CONNECTING: "Read its log and the master's: most often masterauth or masteruser is wrong, or the way to {master} is blocked.",
    WAITING_FOR_SNAPSHOT: "It needs nothing but time. If the master's save fails again and again, its log says why (memory, disk).",
    FULL_SYNC: "It needs nothing but time. If it begins again and again, raise client-output-buffer-limit for replicas and repl-backlog-size "
    "on the master.",
    LOADING: "It needs nothing but time.",
    CATCHING_UP: "It needs nothing but time, or fewer writes; or accept a greater lag (max_lag_bytes).",
}


@dataclass(frozen=True)
class Follower:
    """One replica: what it does, how far it has come. Byte counts are ``None`` where the server does not tell."""

    address: Address
    state: str
    detail: str
    received_bytes: int | None = None
    total_bytes: int | None = None
    lag_bytes: int | None = None
    excused: bool = False
    remedy: str = ""
    progress: str = ""

    @property
    def in_sync(self) -> bool:
        return self.state == IN_SYNC

    @property
    def percent(self) -> float | None:
        if self.received_bytes is None or not self.total_bytes:
            return None
        return round(min(100.0, 100.0 * self.received_bytes / self.total_bytes), 1)

    def as_result(self) -> dict[str, Any]:
        """The form that results carry."""
        return {
            **self.address.as_result(),
            "state": self.state,
            "detail": self.detail,
            "in_sync": self.in_sync,
            "received_bytes": self.received_bytes,
            "total_bytes": self.total_bytes,
            "percent": self.percent,
            "lag_bytes": self.lag_bytes,
            "excused": self.excused,
            "remedy": self.remedy or None,
        }


@dataclass(frozen=True)
class Progress:
    """How far a deployment is on its way to one master that everybody follows."""

    master: Address | None
    followers: tuple[Follower, ...]
    sentinels: tuple[dict[str, Any], ...]
    unsettled: tuple[Check, ...] = ()

    @property
    def settled(self) -> bool:
        return not self.unsettled

    def as_result(self) -> dict[str, Any]:
        """The form that results carry."""
        return {
            "settled": self.settled,
            "master": self.master.as_result() if self.master else None,
            "replicas": [follower.as_result() for follower in self.followers],
            "sentinels": list(self.sentinels),
            "unsettled": [check.as_result() for check in self.unsettled],
            "mark": "|".join(
                [
                    str(self.master),
                    *(f"{follower.address} {follower.state} {follower.progress}" for follower in self.followers),
                    *(f"{row['host']}:{row['port']} {row['detail']}" for row in self.sentinels),
                ]
            ),
        }


def replication_progress(snapshot: Snapshot, max_lag_bytes: int, excused: Iterable[Address] = ()) -> Progress:
    """How far everybody has come.

    Args:
        snapshot: What Sentinels and nodes say.
        max_lag_bytes: How far behind the master a replica may be and still count as in sync.
        excused: Replicas that are reported and not waited for.
    """
    address = snapshot.master_address
    master = snapshot.node(address)
    unsettled = _unsettled_master(snapshot, address, master)
    sentinels = tuple(_sentinel(snapshot, view) for view in snapshot.sentinels)
    unsettled += [
        Check("sentinel_agrees", CRITICAL, f"Sentinel {view.address}: {row['detail']}", row["remedy"])
        for view, row in zip(snapshot.sentinels, sentinels)
        if row["state"] in (NAMES_ANOTHER, FAILOVER_IN_PROGRESS)
    ]
    followers: list[Follower] = []
    if address is not None:
        pardoned = {snapshot.identity(one) for one in excused}
        for node in own_nodes(snapshot):
            if not snapshot.same(node.address, address):
                is_excused = snapshot.identity(node.address) in pardoned
                followers.append(_follower(snapshot, address, master, node, max_lag_bytes, is_excused))
    unsettled += [
        Check("replica_in_sync", CRITICAL, f"replica {follower.address} {follower.detail}", follower.remedy)
        for follower in followers
        if not follower.in_sync and not follower.excused
    ]
    return Progress(address, tuple(followers), sentinels, tuple(unsettled))


def _unsettled_master(snapshot: Snapshot, address: Address | None, master: NodeView | None) -> list[Check]:
    name = snapshot.master_name
    if address is None:
        named = sorted({str(view.current) for view in snapshot.informed_sentinels if view.current})
        if not named:
            what = f"no Sentinel that answers knows a master named {name!r}"
            remedy = "Name a Sentinel that answers and watches this master: look at sentinels and master_name."
        else:
            what = f"the Sentinels name different masters of {name}: {' and '.join(named)}"
            remedy = "Sentinels agree by themselves within seconds when they can reach each other and the master."
    elif master is None or not master.reachable:
        what = f"master {address} cannot be asked: {master.error if master else 'nobody asked it'}"
        remedy = "Start it, or mend the way to it; Sentinel chooses another master when it stays down."
    elif not master.is_master:
        what = f"the Sentinels name {address} as the master, and it says that it is a replica"
        remedy = "Sentinel puts this right within half a minute; if it does not, move the master again."
    else:
        return []
    return [Check("master_settled", CRITICAL, what, remedy)]


def _sentinel(snapshot: Snapshot, view: SentinelView) -> dict[str, Any]:
    state, detail, remedy = AGREED, f"names {view.current}", ""
    if not view.reachable:
        state, detail, remedy = UNREACHABLE, view.error, "Start it, or mend the way to it."
    elif view.master is None or view.current is None:
        state, detail, remedy = NAMES_ANOTHER, "does not know this master", "Configure it there (SENTINEL MONITOR)."
    elif view.master.failover_in_progress:
        state, detail = FAILOVER_IN_PROGRESS, f"its failover is not over ({view.master.failover_state})"
        remedy = "It ends by itself when every replica is reconfigured, or with failover-timeout."
    elif snapshot.master_address is None or not snapshot.same(view.current, snapshot.master_address):
        state = NAMES_ANOTHER
        remedy = "Sentinels agree by themselves within seconds when they can reach each other and the master."
    return {**view.address.as_result(), "state": state, "detail": detail, "remedy": remedy or None}


def _follower(
    snapshot: Snapshot, address: Address, master: NodeView | None, node: NodeView, max_lag_bytes: int, excused: bool
) -> Follower:
    state, detail, numbers, progress = _state(snapshot, address, master, node, max_lag_bytes)
    remedy = _REMEDIES.get(state, "").format(master=f"{address.host} {address.port}")
    return Follower(
        node.address, state, detail, excused=excused, remedy=remedy, progress=progress or str(numbers), **numbers
    )


def _state(
    snapshot: Snapshot, address: Address, master: NodeView | None, node: NodeView, max_lag_bytes: int
) -> tuple[str, str, dict[str, int], str]:
    """State, what to tell a person, byte counts, and what shows that something moves where no byte count does."""
    replication = node.replication
    if not node.reachable or replication is None:
        return UNREACHABLE, f"cannot be asked: {node.error}", {}, ""
    if node.is_master:
        return IS_MASTER, "says that it is a master itself", {}, ""
    if node.info.get("loading") == "1" or node.info.get("async_loading") == "1":
        numbers = _known(node.info, received_bytes="loading_loaded_bytes", total_bytes="loading_total_bytes")
        return LOADING, f"loads the data it has received: {_amount(numbers)}", numbers, ""
    if not snapshot.same(replication.master, address):
        followed = snapshot.node(replication.master)
        _state_there, detail, numbers, progress = _link_state(
            snapshot, replication.master, followed, node, max_lag_bytes
        )
        return FOLLOWS_ANOTHER, f"follows {replication.master}, not {address}; {detail}", numbers, progress
    return _link_state(snapshot, address, master, node, max_lag_bytes)


def _link_state(
    snapshot: Snapshot, address: Address | None, master: NodeView | None, node: NodeView, max_lag_bytes: int
) -> tuple[str, str, dict[str, int], str]:
    """As ``_state``, of the link to the node that it follows, whether that is the right one or not."""
    replication = node.replication
    if replication is None:
        raise ValueError(f"{node.address} has not said what it replicates")
    if replication.link_up:
        return _linked(address, master, replication, max_lag_bytes)
    saving = _saving_for(snapshot, master, node)
    # A master that sends what it saves, without a disk between, is said to save until all is sent.
    if replication.sync_in_progress and (not saving or replication.sync_read_bytes > 0):
        return _full_sync(replication, _saved_keys(master) if saving and replication.sync_total_bytes <= 0 else "")
    if replication.sync_in_progress:
        detail, progress = _save_progress(master)
        return WAITING_FOR_SNAPSHOT, detail, {}, progress
    link = node.role.link if node.role else ""
    if link in ("connecting", "handshake", "sync"):
        return CONNECTING, f"is connecting to {address} ({link})", {}, ""
    since = f" for {replication.link_down_s} s" if replication.link_down_s >= 0 else ""
    return LINK_DOWN, f"its link to {address} has been down{since} ({link or 'unknown'})", {}, ""


def _full_sync(replication: Replication, sent: str) -> tuple[str, str, dict[str, int], str]:
    numbers = {}
    # Without a disk on the master's side nobody knows the size beforehand: the server then says 0.
    if replication.sync_total_bytes > 0:
        numbers = {"received_bytes": replication.sync_read_bytes, "total_bytes": replication.sync_total_bytes}
    elif replication.sync_read_bytes > 0:
        numbers = {"received_bytes": replication.sync_read_bytes}
    elif replication.sync_left_bytes > 0:
        left = f"{replication.sync_left_bytes:,} bytes left"
        return FULL_SYNC, f"full synchronisation: {left}", {}, left
    return FULL_SYNC, f"full synchronisation: {_amount(numbers)} received{sent and f', {sent}'}", numbers, ""


def _linked(
    address: Address | None, master: NodeView | None, replication: Replication, max_lag_bytes: int
) -> tuple[str, str, dict[str, int], str]:
    if master is None or master.replication is None:
        return IN_SYNC, f"follows {address}", {}, ""
    numbers = {"lag_bytes": max(0, master.replication.offset - replication.applied_offset)}
    if numbers["lag_bytes"] > max_lag_bytes:
        return CATCHING_UP, f"catches up: {numbers['lag_bytes']:,} bytes behind", numbers, ""
    return IN_SYNC, f"follows {address}, {numbers['lag_bytes']:,} bytes behind", numbers, ""


def _saving_for(snapshot: Snapshot, master: NodeView | None, node: NodeView) -> bool:
    """Whether the master still saves the data that this replica is to get."""
    if master is None or master.replication is None:
        return False
    return any(
        attached.state in _WAITS_FOR_SNAPSHOT and snapshot.same(attached.address, node.address)
        for attached in master.replication.attached
    )


def _save_progress(master: NodeView | None) -> tuple[str, str]:
    info = master.info if master else {}
    keys = _saved_keys(master)
    text = "waits until the master has saved its data" + (keys and f": {keys}")
    # A save that tells nothing of its progress counts as moving for as long as it lasts.
    return text, f"{info.get('current_save_keys_processed', '0')}/{info.get('rdb_current_bgsave_time_sec', '')}"


def _saved_keys(master: NodeView | None) -> str:
    info = master.info if master else {}
    done, total = info.get("current_save_keys_processed", "0"), info.get("current_save_keys_total", "0")
    if not total.isdigit() or int(total) == 0:
        return ""
    return f"{int(done):,} of {int(total):,} keys ({100 * int(done) // int(total)} %)"


def _known(info: Mapping[str, str], **names: str) -> dict[str, int]:
    return {key: int(info[name]) for key, name in names.items() if info.get(name, "").isdigit()}


def _amount(numbers: Mapping[str, int]) -> str:
    received, total = numbers.get("received_bytes"), numbers.get("total_bytes")
    if received is None:
        return "no byte yet"
    if not total:
        return f"{received:,} bytes"
    return f"{received:,} of {total:,} bytes ({min(100, 100 * received // total)} %)"


class Watch(Patience):
    """Decides, look after look, whether to wait on and what a person should be told.

    Args:
        timeout_s: The longest time to wait in all.
        stall_timeout_s: The longest time to wait while nothing moves.
        report_interval_s: How often a replica is told of that has not come to its next state.
    """

    def __init__(self, timeout_s: float, stall_timeout_s: float, report_interval_s: float = 2.0) -> None:
        super().__init__(timeout_s, stall_timeout_s)
        self._report_interval_s = report_interval_s
        self._told: dict[str, tuple[str, float]] = {}

    def look(self, now_s: float, result: Mapping[str, Any]) -> tuple[str, list[str]]:
        """Take in one look, a result of ``wait_for_replicas``.

        Returns:
            ``settled``, ``wait``, ``stalled`` or ``timed_out``; and the lines to show.
        """
        return self.verdict(now_s, result), self._lines(now_s, result)

    def _lines(self, now_s: float, result: Mapping[str, Any]) -> list[str]:
        rows = [
            (str(Address(row["host"], row["port"])), str(row["state"]), str(row["detail"]))
            for row in result["replicas"]
        ]
        rows += [("", "unsettled", row["detail"]) for row in result["unsettled"] if row["name"] != "replica_in_sync"]
        lines = []
        for who, state, detail in rows:
            key = who or detail
            told_state, told_s = self._told.get(key, ("", now_s))
            silent_s = 0.0 if state == IN_SYNC else now_s - told_s
            if state != told_state or silent_s >= self._report_interval_s:
                self._told[key] = (state, now_s)
                lines.append(f"{self.waited_s(now_s):7.1f} s  {who:<22} {state:<20} {detail}")
        return lines


def gave_up(verdict: str, result: Mapping[str, Any], waited_s: float) -> dict[str, Any]:
    """What a result says besides when the wait ended in vain."""
    left = "; ".join(row["detail"] for row in result["unsettled"])
    return in_vain(verdict, ERRORS, left, (row["remedy"] for row in result["unsettled"]), waited_s)


def nobody_knows(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says besides when no Sentinel that answers knows the master."""
    row = result["unsettled"][0]
    asked = "; ".join(
        f"Sentinel {Address(sentinel['host'], sentinel['port'])}: {sentinel['detail']}"
        for sentinel in result["sentinels"]
    )
    return {
        "failed": True,
        "msg": f"{row['detail']} ({asked}). {row['remedy']}",
        "error": "master_unknown",
        "remedy": row["remedy"],
    }
