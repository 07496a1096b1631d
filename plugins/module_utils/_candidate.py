# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which replica is promoted, and which others a Sentinel could choose.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    REPLICA_REMEDIES,
    Check,
    Fitness,
    assess_replicas,
    check_failover_permitted,
    critical,
    hidden_check,
    too_few_after,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import is_asked
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import known_replicas
from ansible_collections.redis_ha.sentinel.plugins.module_utils._leaders import find_promoter, fit_leaders
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import SENTINEL, Promoter
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Steering, refuse
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot


@dataclass(frozen=True)
class Move:
    """Everything that a way to move the master decides on.

    Attributes:
        snapshot: What everybody says.
        request: What the caller asks for.
        old_master: The master now.
        target: The replica to promote.
        wanted: Whether it must be this one: the caller names it or hosts to leave, or its version suits the others.
        others: All other replicas that should follow it afterwards.
        electable: The other replicas that a Sentinel could choose.
        leaders: Sentinels that could lead and may be told to.
        promoter: Who promotes, where the master is fenced.
        notes: What the caller should know.
    """

    snapshot: Snapshot
    request: Request
    old_master: Address
    target: Fitness
    wanted: bool
    others: tuple[Address, ...]
    electable: tuple[Fitness, ...]
    leaders: tuple[SentinelView, ...]
    promoter: Promoter
    notes: tuple[str, ...]

    @property
    def chosen_by_caller(self) -> bool:
        """Whether the caller names the replica, or hosts to leave."""
        return self.request.target is not None or bool(self.request.avoid)

    @property
    def waited(self) -> tuple[Fitness, ...]:
        """Those of the others that are in step. One that cannot be asked cannot be waited for."""
        return tuple(it for it in self.electable if it.in_step and is_asked(self.snapshot, it.address))

    @property
    def lagging(self) -> tuple[Address, ...]:
        """The rest of them: Sentinel must not choose one."""
        return tuple(it.address for it in self.electable if it not in self.waited)

    @property
    def rivals(self) -> tuple[Fitness, ...]:
        """Those that Sentinel does not put behind the replica to promote."""
        return tuple(it for it in self.electable if it.priority <= self.target.priority)

    @property
    def steering(self) -> tuple[Steering, ...]:
        """What it takes that Sentinel itself chooses the replica to promote."""
        return tuple(Steering(it.address, it.priority) for it in self.rivals if not it.hidden)


def choose_move(snapshot: Snapshot, request: Request, old_master: Address, deaf: Collection[Address]) -> Move:
    """Which replica is promoted, and who else matters.

    Raises:
        RefusedError: None may be, or no Sentinel may be told to fail over.
    """
    fitness = assess_replicas(snapshot, request.max_lag_bytes)
    target, preference = _choose(snapshot, request, fitness)
    leaders = fit_leaders(snapshot, target.address)
    permitted = critical(check_failover_permitted(snapshot, leaders))
    if permitted:
        raise refuse(permitted)
    leaders = [view for view in leaders if not view.failover_refused]
    move = Move(
        snapshot,
        request,
        old_master,
        target,
        wanted=request.target is not None or bool(request.avoid) or bool(preference),
        others=known_replicas(snapshot, (old_master, target.address)),
        electable=tuple(it for it in fitness if it.electable and it.address != target.address),
        leaders=tuple(leaders),
        promoter=find_promoter(snapshot, request, target.address, leaders, deaf),
        notes=preference,
    )
    unwanted = _unwanted_hidden(move)
    if unwanted and move.promoter.by == SENTINEL:
        text = f"might be promoted by Sentinel, which does not show it, instead of {target.address}"
        raise refuse([hidden_check(unwanted, text)])
    return move


def _choose(snapshot: Snapshot, request: Request, fitness: list[Fitness]) -> tuple[Fitness, tuple[str, ...]]:
    """The replica to promote, and a note where it is neither the one asked for nor Sentinel's own choice."""
    if request.target is not None:
        return _named(snapshot, request, request.target, fitness), ()
    allowed = [it for it in fitness if not it.hidden and not snapshot.on_host(it.address, request.avoid)]
    if request.avoid and not allowed:
        raise refuse(
            [
                Check(
                    "avoid_leaves_nobody",
                    "critical",
                    f"every replica of {snapshot.master_name} is on a host to leave ({', '.join(request.avoid)})",
                    "Leave fewer hosts at a time, or add a replica elsewhere.",
                )
            ]
        )
    if not allowed:
        raise refuse([hidden_check(fitness, "is shown by no Sentinel, so none can be told to promote it")])
    suited, notes = _suited(snapshot, allowed)
    if not suited:
        raise refuse(
            [
                Check(
                    "no_suitable_replica",
                    "critical",
                    f"{it.address} cannot be promoted: {it.why_not}",
                    REPLICA_REMEDIES.get(it.objections[0][0], ""),
                )
                for it in allowed
            ]
        )
    return suited[0], notes


def equally_suited(snapshot: Snapshot, request: Request) -> tuple[Address, ...]:
    """The replicas of which any may be promoted as well as the one that would be: of the same priority, and suited by version. That one first."""
    fitness = assess_replicas(snapshot, request.max_lag_bytes)
    allowed = [it for it in fitness if not it.hidden and not snapshot.on_host(it.address, request.avoid)]
    return tuple(it.address for it in _suited(snapshot, allowed)[0])


def _suited(snapshot: Snapshot, allowed: list[Fitness]) -> tuple[list[Fitness], tuple[str, ...]]:
    """Those that are fit and equally good, and a note where the first is not Sentinel's own choice."""
    fit = [it for it in allowed if it.fit]
    if not fit:
        return [], ()
    takes_writes = [it for it in fit if not too_few_after(snapshot, it.address)]
    return _suited_by_version(snapshot, takes_writes or fit)


def _named(snapshot: Snapshot, request: Request, target: Address, fitness: list[Fitness]) -> Fitness:
    """The replica that the caller names, if it may be promoted."""
    named = next((it for it in fitness if snapshot.same(it.address, target)), None)
    if named is None:
        raise refuse(
            [
                Check(
                    "target_unknown",
                    "critical",
                    f"{target} is no replica of {snapshot.master_name}; its replicas are {', '.join(sorted(str(it.address) for it in fitness))}",
                    "Name a replica as Sentinel shows it (topology_info lists them).",
                )
            ]
        )
    if request.avoid and snapshot.on_host(named.address, request.avoid):
        raise refuse(
            [
                Check(
                    "target_avoided",
                    "critical",
                    f"the target {named.address} is on a host to leave",
                    "Name a target on another host.",
                )
            ]
        )
    if named.hidden:
        raise refuse([hidden_check([named], "is shown by no Sentinel, so none can be told to promote it")])
    if not named.fit:
        raise refuse(
            [
                Check(code, "critical", f"{named.address}: {text}", REPLICA_REMEDIES.get(code, ""))
                for code, text in named.objections
            ]
        )
    return named


def _suited_by_version(snapshot: Snapshot, fit: list[Fitness]) -> tuple[list[Fitness], tuple[str, ...]]:
    """Of those with the lowest priority: with the master's own version if there are such, else a newer one, else an older one.

    What a newer master sends, an older replica may be unable to load; an older master may lack what clients use.
    """
    first = fit[0]
    equals = [(it, snapshot.node(it.address)) for it in fit if it.priority == first.priority]
    known = [(it, node) for it, node in equals if node is not None and node.reachable]
    master = snapshot.node(snapshot.master_address)
    if master is None or not master.reachable or known[:1] != equals[:1]:
        return [it for it, _node in equals], ()

    def unlike_the_master(candidate: tuple[Fitness, NodeView]) -> int:
        node = candidate[1]
        return 0 if node.same_series(master) else 2 if node.older_than(master) else 1

    best, runs = min(known, key=unlike_the_master)
    suited = [it for it, node in known if unlike_the_master((it, node)) == unlike_the_master((best, runs))]
    if best is first:
        return suited, ()
    passed = known[0][1]
    return suited, (
        f"{best.address} is preferred to {first.address} for its version: {runs.product} {runs.dotted_version}, not"
        f" {passed.product} {passed.dotted_version}; the master runs {master.product} {master.dotted_version}",
    )


def _unwanted_hidden(move: Move) -> list[Fitness]:
    """Replicas that Sentinel may promote instead of the one that the caller wants, and that cannot be seen to be steered away from."""
    avoid = move.request.avoid
    return [
        it
        for it in move.rivals
        if it.hidden and (move.request.target is not None or move.snapshot.on_host(it.address, avoid))
    ]
