# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways to move a master: for each, what stands in its way, and its plan. A further way is one more entry of ``WAYS``.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._candidate import Move
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    MINIMUM_SERVER,
    Check,
    access_check,
    check_connections,
    check_hidden_replicas,
    check_master_node,
    check_writes_after,
    critical,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import (
    NEW_MASTER_COMMANDS,
    OLD_MASTER_COMMANDS,
    PAUSE_COMMANDS,
    SETTING_COMMANDS,
    command_checks,
    may,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM, SENTINEL
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import (
    MIN_REPLICAS_FENCE,
    MOVE,
    PAUSE_FENCE,
    SENTINEL_WRITE_STOP_MS,
    Plan,
    Repair,
    Steering,
    refuse,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import AUTO, COORDINATED, FENCED, PLAIN
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot

OUT_OF_OUR_REACH = (
    "node_unreachable",
    "node_auth",
    "node_tls",
    "node_not_permitted",
    "node_clients",
    "command_unavailable",
)
"""Codes of what keeps this program from fencing, and not the servers from handing over."""


LONGEST_LEASE_MS = 2_000
PROGRAM_WRITE_STOP_MS = 20
"""The gap between durable writes where the program promotes and carries the news (docs/benchmark.md)."""
COORDINATED_WRITE_STOP_MS = 2_000
PLAIN_WRITE_STOP_MS = 11_000
NO_GOOD_REPLICA_YET_MS = 1_200
"""Before 6.2 a replica connects to its new master within a second; until then a master with ``min-replicas-to-write`` refuses writes."""
DEAD_AFTER_MS = 3_000
"""A master that no Sentinel has heard for so long, three of its pings, and that cannot be reached from here either, is dead."""


def is_down(snapshot: Snapshot) -> bool:
    """Whether every Sentinel knows the master down by quorum."""
    return all(view.master is not None and view.master.objectively_down for view in snapshot.informed_sentinels)


def plan_move(move: Move, repairs: tuple[Repair, ...]) -> Plan:
    """The plan of the way that the caller asks for, or of the first that nothing stands in the way of.

    Raises:
        RefusedError: Something stands in the way of all that may be taken; every reason is named.
    """
    strategy = move.request.strategy
    asked = strategy if strategy != AUTO else _automatic(move)
    blockers = fenced_blockers(move)
    if asked == FENCED and blockers:
        raise refuse(blockers)
    if asked != FENCED:
        _require_way_without_fence(move, asked, blockers)
    plan = WAYS[asked](move, blockers)
    return replace(plan, repairs=repairs, notes=(*move.notes, *plan.notes))


def _automatic(move: Move) -> str:
    """What ``auto`` stands for. Nothing that could lose a write is chosen while the master may be up.

    Raises:
        RefusedError: No way is left.
    """
    blockers = fenced_blockers(move)
    if not blockers:
        return FENCED
    if any(check.name not in OUT_OF_OUR_REACH for check in blockers):
        # Whoever demotes this master would run into it; no other way helps.
        raise refuse(blockers)
    if is_down(move.snapshot):
        return PLAIN
    if any(view.coordinated for view in move.leaders):
        return COORDINATED
    raise refuse(
        [
            *blockers,
            Check(
                "no_lossless_way",
                "critical",
                "no strategy is left that loses nothing, and the master is not down",
                _instead_of_losing(move.snapshot),
            ),
        ]
    )


def _require_way_without_fence(move: Move, asked: str, blockers: list[Check]) -> None:
    """What the ways of Sentinel itself demand.

    Raises:
        RefusedError: The servers could not hand over, or Sentinel could not be led to the replica that the caller wants.
    """
    if asked != PLAIN and any(check.name not in OUT_OF_OUR_REACH for check in blockers):
        raise refuse(blockers)
    unsteerable = _unsteerable(move)
    if unsteerable and move.chosen_by_caller:
        named = ", ".join(map(str, unsteerable))
        raise refuse(
            [
                Check(
                    "target_not_steerable",
                    "critical",
                    f"Sentinel might choose {named} instead of {move.target.address}, and its priority cannot be set from here",
                    "Let this host reach the replicas with a user that may CONFIG SET, or do not name a target.",
                ),
                *blockers,
            ]
        )


def _unsteerable(move: Move) -> list[Address]:
    nodes = ((it.address, move.snapshot.node(it.address)) for it in move.steering)
    return [address for address, node in nodes if not may(node, SETTING_COMMANDS)]


# ---- fenced ------------------------------------------------------------------------------------------------------------


def any_candidate_will_do(move: Move) -> bool:
    """Whether Sentinel may choose any replica that has everything: the program promotes, or nobody wants a certain one."""
    return move.promoter.by == PROGRAM or not move.wanted


def fenced_steering(move: Move) -> tuple[Steering, ...]:
    """Whose priority a fenced move has to raise: of those that lag, and of all rivals where Sentinel must choose a certain one."""
    will_do = any_candidate_will_do(move)
    return tuple(it for it in move.steering if it.address in move.lagging or not will_do)


def fenced_blockers(move: Move) -> list[Check]:
    """Why the master cannot be fenced, or not be moved at all."""
    snapshot = move.snapshot
    master, candidate = snapshot.node(snapshot.master_address), snapshot.node(move.target.address)
    blockers = critical(check_master_node(snapshot)) + _master_blockers(master)
    blockers += _candidate_blockers(move, master, candidate)
    for steer in fenced_steering(move):
        node = snapshot.node(steer.address)
        blockers += _unasked(steer.address, node) or command_checks(
            _known(node), SETTING_COMMANDS, "a replica that must not be chosen"
        )
    blockers += critical(check_hidden_replicas(snapshot, move.request.max_lag_bytes))
    if master is not None and master.reachable:
        # Without a master every link is down, and says nothing of what will be.
        blockers += check_writes_after(snapshot, move.target.address)
    return blockers


def _known(node: NodeView | None) -> NodeView:
    if node is None:
        raise ValueError("nobody asked this node")
    return node


def _unasked(address: Address, node: NodeView | None) -> list[Check]:
    """The failed check for a node that does not answer us; none, if it does."""
    if node is not None and node.reachable:
        return []
    return [access_check("node", address, node.error if node else "nobody asked it", node.error_code if node else "")]


def _master_blockers(master: NodeView | None) -> list[Check]:
    if master is None or not master.reachable or not master.is_master:
        return []
    fence_commands = PAUSE_COMMANDS if master.write_pause else SETTING_COMMANDS
    checks = command_checks(master, (*OLD_MASTER_COMMANDS, *fence_commands), "the old master")
    return checks + check_connections(master, "the old master")


def _candidate_blockers(move: Move, master: NodeView | None, candidate: NodeView | None) -> list[Check]:
    unasked = _unasked(move.target.address, candidate)
    if unasked or master is None or not master.reachable:
        return unasked
    node = _known(candidate)
    checks = _follow_checks(master, node) + check_connections(node, "the replica to promote")
    if move.promoter.by == PROGRAM:
        checks += command_checks(node, NEW_MASTER_COMMANDS, "the replica to promote")
    if node.compatible_version < MINIMUM_SERVER:
        checks.append(Check("server_too_old", "critical", f"{node.address} runs a version before 6.0", "Upgrade it."))
    return checks


def _follow_checks(master: NodeView, candidate: NodeView) -> list[Check]:
    if candidate.password_set and master.master_auth_set is False:
        return [
            Check(
                "masterauth_missing",
                "critical",
                f"{candidate.address} wants a password, and {master.address} has no masterauth: demoted, it could not follow",
                "CONFIG SET masterauth (and masteruser) on every node, the master too, and CONFIG REWRITE.",
            )
        ]
    return []


def _fenced(move: Move, _blockers: list[Check]) -> Plan:
    snapshot, target, promoter = move.snapshot, move.target, move.promoter
    node = _known(snapshot.node(move.old_master))
    return Plan(
        MOVE,
        move.old_master,
        strategy=FENCED,
        new_master=target.address,
        siblings=tuple(it.address for it in move.waited),
        others=move.others,
        lagging=move.lagging,
        steering=fenced_steering(move),
        priorities=((target.address, target.priority), *((it.address, it.priority) for it in move.electable)),
        any_candidate=any_candidate_will_do(move),
        leaders=promoter.leaders,
        promotion=promoter.by,
        promotion_reason=promoter.reason,
        fence=PAUSE_FENCE if node.write_pause else MIN_REPLICAS_FENCE,
        lease_ms=min(LONGEST_LEASE_MS, snapshot.down_after_ms // 4),
        fence_budget_ms=min(int(move.request.catch_up_timeout_s * 1000), snapshot.down_after_ms // 2),
        down_after_ms=snapshot.down_after_ms,
        write_stop_ms=_write_stop_ms(snapshot, target.address, promoter.by),
        notes=tuple(
            f"{it.address} could be chosen by Sentinel and is not waited for: {it.why_not}"
            for it in move.electable
            if not it.in_step
        ),
    )


def _write_stop_ms(snapshot: Snapshot, candidate: Address, promotion: str) -> int:
    """How long writes are expected to stand still."""
    if promotion == SENTINEL:
        return SENTINEL_WRITE_STOP_MS
    node = snapshot.node(candidate)
    demands = node is not None and (node.number("min-replicas-to-write") or 0) > 0
    old = node is not None and node.compatible_version < (6, 2, 0)
    return NO_GOOD_REPLICA_YET_MS if demands and old else PROGRAM_WRITE_STOP_MS


# ---- by Sentinel itself ------------------------------------------------------------------------------------------------


def _by_sentinel(move: Move, strategy: str, leaders: list[SentinelView], blockers: list[Check]) -> Plan:
    """What both ways of Sentinel itself have in common."""
    steerable = move.wanted and not _unsteerable(move)
    node = move.snapshot.node(move.old_master)
    return Plan(
        MOVE,
        move.old_master,
        strategy=strategy,
        new_master=move.target.address,
        others=move.others,
        lagging=move.lagging,
        steering=move.steering if steerable else (),
        leaders=_last_asked_first(move.snapshot, leaders),
        promotion=SENTINEL,
        promotion_reason="this is Sentinel's own way",
        down_after_ms=move.snapshot.down_after_ms,
        master_reachable=node is not None and node.reachable,
        notes=tuple(f"not fenced: {check.detail}" for check in blockers),
    )


def _coordinated(move: Move, blockers: list[Check]) -> Plan:
    capable = [view for view in move.leaders if view.coordinated]
    if not capable:
        versions = ", ".join(sorted({".".join(map(str, view.version)) for view in move.leaders}))
        raise refuse(
            [
                Check(
                    "strategy_unavailable",
                    "critical",
                    f"no fit Sentinel knows COORDINATED ({versions}); Valkey 9 does",
                    "Use strategy=fenced.",
                )
            ]
        )
    return replace(_by_sentinel(move, COORDINATED, capable, blockers), write_stop_ms=COORDINATED_WRITE_STOP_MS)


def _plain(move: Move, blockers: list[Check]) -> Plan:
    _require_acceptance(move)
    loss = (
        "the master is down: what it had not replicated is lost"
        if is_down(move.snapshot)
        else "writes that the old master acknowledges meanwhile are lost"
    )
    plan = _by_sentinel(move, PLAIN, list(move.leaders), blockers)
    return replace(plan, write_stop_ms=PLAIN_WRITE_STOP_MS, notes=(*plan.notes, loss))


def _require_acceptance(move: Move) -> None:
    """``plain`` throws away what a master that lives acknowledges: it wants a word, or a master that is dead beyond doubt.

    Raises:
        RefusedError: There is neither.
    """
    snapshot, request = move.snapshot, move.request
    if request.accept_loss or is_down(snapshot):
        return
    node, address = snapshot.node(snapshot.master_address), snapshot.master_address
    heard_ms = min((v.master.last_ok_ping_ms for v in snapshot.informed_sentinels if v.master), default=0)
    if node is not None and (node.reachable or node.error_code != "unreachable"):
        raise refuse(
            [
                Check(
                    "loss_not_accepted",
                    "critical",
                    f"the master {address} is up: with strategy plain, what it acknowledges in the next eleven seconds would be lost",
                    "Use strategy=fenced, which loses nothing. Only if these writes do not matter, set accept_loss to true.",
                )
            ]
        )
    if heard_ms < DEAD_AFTER_MS or request.expected_master is None:
        raise refuse(
            [
                Check(
                    "master_not_down",
                    "critical",
                    f"the master {address} cannot be asked from here, and no Sentinel majority calls it down; a Sentinel last heard it {heard_ms} ms ago",
                    _instead_of_losing(snapshot)
                    + f" To move it sooner, give expected_master; that is accepted once no Sentinel has heard it for {DEAD_AFTER_MS // 1000} s.",
                )
            ]
        )


def _last_asked_first(snapshot: Snapshot, leaders: list[SentinelView]) -> tuple[Address, ...]:
    """Where Sentinel promotes, the first one that clients ask leads last (see :func:`choose_promoter`)."""
    addresses = [view.address for view in leaders]
    first = snapshot.sentinels[0].address
    return tuple(sorted(addresses, key=lambda address: address == first))


def _instead_of_losing(snapshot: Snapshot) -> str:
    master = snapshot.node(snapshot.master_address)
    if master is not None and (master.reachable or master.error_code != "unreachable"):
        return "Mend what is named: the master is up, and SENTINEL FAILOVER alone would throw away what it acknowledges meanwhile."
    return (
        f"If the master is up, mend the way from here to it. If it is down, no Sentinel majority has said so yet: "
        f"Sentinel does {snapshot.down_after_ms // 1000} s "
        "after the last answer, and then moves it by itself within some seconds. Wait, and look with topology_info."
    )


WAYS: dict[str, Callable[[Move, list[Check]], Plan]] = {FENCED: _fenced, COORDINATED: _coordinated, PLAIN: _plain}
"""Strategy -> its plan, from the move and what stands in the way of a fence."""
