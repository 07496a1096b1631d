# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that a check of ``health_info`` may look at, and where good ends.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import OK, Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import own_nodes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._masked import MASKS, is_masked
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Replication, parse_address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot

BEFORE = "before"
AFTER = "after"

UNKNOWN = "not known: "
"""How the detail of a check begins where no server tells."""


@dataclass(frozen=True)
class Evidence:
    """What was asked beyond a snapshot. A missing key was not asked; ``None`` could not be told.

    Attributes:
        held: For each node: nothing, or what shows that a pause holds writes.
        logins: For each follower and leader: nothing if the follower could log in to the leader, or why it could not.
        sentinel_refused: For each node: the users of the Sentinels there, and which of their commands each may not send.
        config_saves: For each Sentinel: nothing if it saved its configuration, or its error.
        role_saves: The same for the old master's CONFIG REWRITE.
        later: A second look at the replication of each node.
        write_rate_bytes_s: How fast the master's offset moved between the looks.
    """

    held: Mapping[Address, str | None] = field(default_factory=dict)
    logins: Mapping[tuple[Address, Address], str | None] = field(default_factory=dict)
    sentinel_refused: Mapping[Address, Mapping[str, tuple[str, ...]] | None] = field(default_factory=dict)
    config_saves: Mapping[Address, str] = field(default_factory=dict)
    role_saves: Mapping[Address, str] = field(default_factory=dict)
    later: Mapping[Address, Replication] = field(default_factory=dict)
    write_rate_bytes_s: float | None = None


@dataclass(frozen=True)
class Thresholds:
    """Where good ends: the options of ``health_info``."""

    min_sentinels: int | None = None
    min_fit_replicas: int = 1
    max_lag_bytes: int = 10 * 1024 * 1024
    max_info_age_s: float = 30.0
    max_link_silence_s: float = 30.0


@dataclass(frozen=True)
class NodeBefore:
    """What the baseline says of one node. The ``address`` may be masked; what else is, is not known."""

    address: Address
    reachable: bool
    run_id: str
    priority: int | None
    replid: str
    offset: int | None
    full_resyncs: int | None
    partial_resyncs: int | None
    was_master: bool = False


@dataclass(frozen=True)
class Baseline:
    """An earlier snapshot, as ``health_info`` returned it, for what only comparing tells.

    ``unread`` says what Ansible has masked and nothing else tells.
    """

    master: Address | None
    config_epoch: int
    nodes: tuple[NodeBefore, ...]
    tilt_totals: Mapping[Address, int]
    unread: tuple[str, ...] = ()


def parse_baseline(data: Mapping[str, Any]) -> Baseline:
    """Read a ``snapshot`` that ``health_info`` returned.

    Raises:
        ValueError: It is none; the message says why.
    """
    try:
        nodes = tuple(_parse_node(node) for node in data["nodes"])
        sentinels = list(data["sentinels"])
        epochs = [epoch for view in sentinels if (epoch := _optional_int(view["config_epoch"])) is not None]
        totals = {
            parse_address(view["address"]): total
            for view in sentinels
            if (total := _optional_int(view["tilt_total"])) is not None and not is_masked(view["address"])
        }
        master = _address(data["master"]) if data["master"] else None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a snapshot that health_info returned ({type(error).__name__}: {error})") from error
    return Baseline(master, max(epochs, default=0), nodes, totals)


def _address(text: str) -> Address:
    """An address that may be masked, whole or in part."""
    if not is_masked(text):
        return parse_address(text)
    port = text.rpartition(":")[2]
    return Address(MASKS[0], int(port) if port.isdigit() else 0)


def unmasked(baseline: Baseline, snapshot: Snapshot) -> Baseline:
    """The same, with the addresses that Ansible has masked read off the run ids, by which a server is known until it is restarted."""
    nodes, unread = [], []
    for node in baseline.nodes:
        if not is_masked(node.address.host):
            nodes.append(node)
            continue
        now = next((it for it in snapshot.nodes if node.run_id and it.run_id == node.run_id), None)
        if now is None:
            unread.append(f"a node with port {node.address.port}")
        else:
            nodes.append(replace(node, address=now.address))
    master = baseline.master
    if master is not None and is_masked(master.host):
        master = next((node.address for node in nodes if node.was_master), None)
        unread += [] if master else ["its master"]
    return replace(baseline, nodes=tuple(nodes), master=master, unread=tuple(unread))


def _parse_node(data: Mapping[str, Any]) -> NodeBefore:
    replication = data["replication"] or {}
    return NodeBefore(
        address=_address(data["address"]),
        reachable=not data["error"],
        run_id=_text(data["run_id"]),
        priority=_optional_int(replication.get("priority")),
        replid=_text(replication.get("replid")),
        offset=_optional_int(replication.get("offset")),
        full_resyncs=_optional_int(data["full_resyncs"]),
        partial_resyncs=_optional_int(data["partial_resyncs"]),
        was_master=data.get("role") == "master",
    )


def _text(value: Any) -> str:
    return "" if value is None or is_masked(value) else str(value)


def _optional_int(value: Any) -> int | None:
    return None if value is None or is_masked(value) else int(value)


@dataclass(frozen=True)
class Situation:
    """All that a check may look at."""

    snapshot: Snapshot
    evidence: Evidence = field(default_factory=Evidence)
    thresholds: Thresholds = field(default_factory=Thresholds)
    baseline: Baseline | None = None

    @property
    def master(self) -> NodeView | None:
        """The node that all Sentinels name, if it can be asked."""
        return self._asked(self.snapshot.master_address)

    @property
    def nodes(self) -> tuple[NodeView, ...]:
        """The nodes of this deployment that can be asked."""
        return tuple(node for node in own_nodes(self.snapshot) if node.reachable)

    @property
    def failover_leaders(self) -> list[SentinelView]:
        """Sentinels that lead a failover now."""
        return [view for view in self.snapshot.informed_sentinels if view.master and view.master.failover_in_progress]

    @property
    def old_master(self) -> Address | None:
        """The master of the baseline, spelled as it is now, if another node is master now."""
        before = self.baseline.master if self.baseline else None
        if before is None or self.snapshot.same(before, self.snapshot.master_address):
            return None
        node = self.snapshot.node(before)
        return node.address if node else before

    def before(self, address: Address) -> NodeBefore | None:
        """What the baseline says of a node."""
        nodes = self.baseline.nodes if self.baseline else ()
        return next((node for node in nodes if self.snapshot.same(node.address, address)), None)

    def _asked(self, address: Address | None) -> NodeView | None:
        node = self.snapshot.node(address)
        return node if node is not None and node.reachable else None


CheckFunction = Callable[[Situation], "list[Check]"]
"""One check. It gives several where it looks at each replica or finds several things wrong, and none where there is nothing to look at."""


def named(name: str, checks: Iterable[Check], ok: str = "") -> list[Check]:
    """Checks of the failover, under the one name that they have here; those that are ok as one."""
    checks = list(checks)
    wrong = [replace(check, name=name) for check in checks if check.status != OK]
    if wrong or not checks:
        return wrong
    return [Check(name, OK, ok or "; ".join(check.detail for check in checks))]


def listed(items: Iterable[object]) -> str:
    """Several things in one sentence."""
    return ", ".join(str(item) for item in items)


def counted(number: int, noun: str) -> str:
    """A number with its noun, for example ``2 replicas``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
