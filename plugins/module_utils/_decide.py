# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshot and request -> what to do, or nothing to do, or why not.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._candidate import choose_move
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    LOSSLESS_CHECKS,
    MOVE_CHECKS,
    SENTINEL_CHECKS,
    Check,
    check_master_known,
    check_master_node,
    check_sentinels_reachable,
    critical,
    expected_mismatch,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._leftovers import (
    find_repairs,
    half_finished,
    half_told,
    in_progress,
    is_fence,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import NOTHING, REPAIR, Plan, Repair, refuse
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import PLAIN, Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._ways import is_down, plan_move


def decide(snapshot: Snapshot, request: Request, deaf: Collection[Address] = ()) -> Plan:
    """What to do.

    Args:
        snapshot: What everybody says.
        request: What the caller asks for.
        deaf: Sentinels that send us no events.

    Raises:
        RefusedError: Something speaks against it; every reason is named.
    """
    reachable = check_sentinels_reachable(snapshot, request.min_sentinels)
    _require(reachable)
    notes = tuple(check.detail for check in reachable if check.status != "ok")
    if not snapshot.informed_sentinels:
        _require(check_master_known(snapshot))
    joined = in_progress(snapshot) or half_told(snapshot, request)
    if joined is not None:
        return joined
    old_master = _agreed_master(snapshot, request)
    repairs = find_repairs(snapshot)
    settled = half_finished(snapshot, request, old_master, repairs, deaf)
    if settled is not None:
        return settled
    stays = _stays(snapshot, request, old_master, repairs, notes)
    if stays is not None:
        _require_master_role(snapshot, old_master)
        return stays
    lossy = request.strategy == PLAIN or is_down(snapshot)
    hard = MOVE_CHECKS if lossy else (*MOVE_CHECKS, *LOSSLESS_CHECKS)
    _require([check for demanded in hard for check in demanded(snapshot)])
    plan = plan_move(choose_move(snapshot, request, old_master, deaf), repairs)
    return replace(plan, notes=(*notes, *plan.notes))


def _require(checks: Sequence[Check]) -> None:
    """See that none of these has failed.

    Raises:
        RefusedError: Some have.
    """
    failed = critical(checks)
    if failed:
        raise refuse(failed)


def _agreed_master(snapshot: Snapshot, request: Request) -> Address:
    """The master that all Sentinels name, if they are fit to move it.

    Raises:
        RefusedError: They are not, or name none.
    """
    _require([check for demanded in SENTINEL_CHECKS for check in demanded(snapshot)])
    if snapshot.master_address is None:
        raise refuse(
            [
                Check(
                    "master_unknown",
                    "critical",
                    f"no Sentinel names an address for {request.master_name}",
                    "Look with topology_info.",
                )
            ]
        )
    return snapshot.master_address


def _stays(
    snapshot: Snapshot, request: Request, old_master: Address, repairs: tuple[Repair, ...], notes: tuple[str, ...]
) -> Plan | None:
    """What to do where the master is not to be moved; nothing where it is.

    Raises:
        RefusedError: It is not the one that the caller expects.
    """
    if request.target is not None and snapshot.same(request.target, old_master):
        return Plan(NOTHING, old_master, repairs=repairs, notes=(*notes, f"{old_master} is the master already"))
    if request.expected_master is not None and not snapshot.same(request.expected_master, old_master):
        raise refuse([expected_mismatch(f"the master is {old_master}", request.expected_master)])
    _require_known_hosts(snapshot, request)
    if request.avoid and not snapshot.on_host(old_master, request.avoid):
        note = f"the master {old_master} is on none of the hosts to leave"
        return Plan(NOTHING, old_master, repairs=repairs, notes=(*notes, note))
    fenced_master = any(snapshot.same(repair.address, old_master) and is_fence(repair) for repair in repairs)
    unasked = request.target is None and not request.avoid and request.expected_master is None
    if repairs and unasked and not fenced_master:
        note = (
            f"an interrupted run left its settings; they are put back, and the master stays {old_master}: it cannot be told whether that run had "
            "moved it already. Run again to move it, or say expected_master."
        )
        return Plan(REPAIR, old_master, repairs=repairs, notes=(*notes, note))
    return None


def _require_master_role(snapshot: Snapshot, named: Address) -> None:
    """What is to stay the master is one, unless it cannot be asked.

    Raises:
        RefusedError: It says that it is a replica.
    """
    node = snapshot.node(named)
    if node is not None and node.role is not None and not node.is_master:
        _require(check_master_node(snapshot))


def _require_known_hosts(snapshot: Snapshot, request: Request) -> None:
    """At least one of the hosts to leave carries a server of this deployment; all addresses of one host may be given.

    Raises:
        RefusedError: None does. To go on would mean to take down a host that nothing has left.
    """
    known = [view.address for view in snapshot.sentinels] + [node.address for node in snapshot.nodes]
    known += [entry.address for view in snapshot.informed_sentinels for entry in view.replicas]
    if not request.avoid or any(snapshot.on_host(address, request.avoid) for address in known):
        return
    hosts = ", ".join(sorted({address.host for address in known}))
    raise refuse(
        [
            Check(
                "avoid_unknown",
                "critical",
                f"no server of {request.master_name} is on {', '.join(request.avoid)}; its servers are on {hosts}",
                "Name the host as Sentinel shows it. All addresses of a host may be given (ansible_all_ipv4_addresses): one of them must be among these.",
            )
        ]
    )
