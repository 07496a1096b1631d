# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshot and request -> what to do, or nothing to do, or why not.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    LOSSLESS_CHECKS,
    MINIMUM_SERVER,
    MOVE_CHECKS,
    RENAMED_REMEDY,
    REPLICA_REMEDIES,
    SENTINEL_CHECKS,
    STEERING,
    Check,
    Fitness,
    access_check,
    assess_replicas,
    check_connections,
    check_failover_permitted,
    check_hidden_replicas,
    check_master_known,
    check_master_node,
    check_sentinels_reachable,
    check_writes_after,
    critical,
    fenced_nodes,
    hidden_check,
    steered_nodes,
    too_few_after,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import Refused, failure
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import (
    foreign_nodes,
    is_foreign,
    unlisted_replicas,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import (
    PROGRAM,
    SENTINEL,
    Promoter,
    choose_promoter,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot

MOVE = "move"
FINISH = "finish"
JOIN = "join"
REPAIR = "repair"
NOTHING = "nothing"

FENCED = "fenced"
COORDINATED = "coordinated"
PLAIN = "plain"
AUTO = "auto"

PAUSE_FENCE = "pause"
MIN_REPLICAS_FENCE = "min_replicas"

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
SENTINEL_WRITE_STOP_MS = 1_400
"""Sentinel looks at the replica that it promotes once a second; it may take that long and some ticks to notice."""
NO_GOOD_REPLICA_YET_MS = 1_200
"""Before 6.2 a replica connects to its new master within a second; until then a master with ``min-replicas-to-write`` refuses writes."""
DEAD_AFTER_MS = 3_000
"""A master that no Sentinel has heard for so long, three of its pings, and that cannot be reached from here either, is dead."""
SENTINEL_HEALS_MS = 30_000
"""Beyond down-after: 20 s until Sentinel calls a master that turned replica down, 10 s until its INFO shows it (``sentinel.c``)."""

PROBED_COMMANDS: dict[str, tuple[object, ...]] = {
    "INFO": ("INFO", "replication"),
    "ROLE": ("ROLE",),
    "CLIENT SETNAME": ("CLIENT", "SETNAME", "probe"),
    "CLIENT ID": ("CLIENT", "ID"),
    "CLIENT LIST": ("CLIENT", "LIST"),
    "CLIENT PAUSE": ("CLIENT", "PAUSE", "1", "WRITE"),
    "CLIENT UNPAUSE": ("CLIENT", "UNPAUSE"),
    "CLIENT KILL": ("CLIENT", "KILL", "TYPE", "pubsub"),
    "REPLICAOF": ("REPLICAOF", "NO", "ONE"),
    "CONFIG GET": ("CONFIG", "GET", "replica-priority"),
    "CONFIG SET": ("CONFIG", "SET", "replica-priority", "100"),
    "CONFIG REWRITE": ("CONFIG", "REWRITE"),
}
"""Commands that the fenced strategy sends to nodes; tried in MULTI and discarded, never run by the probe."""

OLD_MASTER_COMMANDS = (
    "CONFIG GET",
    "INFO",
    "ROLE",
    "CLIENT SETNAME",
    "CLIENT ID",
    "CLIENT LIST",
    "CLIENT KILL",
    "REPLICAOF",
    "CONFIG REWRITE",
)
TRANSACTION_COMMANDS = ("MULTI", "EXEC", "DISCARD")
PAUSE_COMMANDS = ("CLIENT PAUSE", "CLIENT UNPAUSE")
SETTING_COMMANDS = ("CONFIG GET", "CONFIG SET", "CONFIG REWRITE")


@dataclass(frozen=True)
class Request:
    """What the caller asks for: the options of ``redis_ha.sentinel.failover``."""

    master_name: str
    target: Address | None = None
    avoid: tuple[str, ...] = ()
    min_sentinels: int | None = None
    expected_master: Address | None = None
    strategy: str = AUTO
    promotion: str = AUTO
    accept_loss: bool = False
    not_after: str = ""
    not_after_s: float | None = None
    max_lag_bytes: int = 10 * 1024 * 1024
    catch_up_timeout_s: float = 1.0
    timeout_s: float = 120.0


@dataclass(frozen=True)
class Steering:
    """A sibling whose ``replica-priority`` is raised for the time of the failover."""

    address: Address
    priority: int

    @property
    def raised(self) -> int:
        return self.priority + STEERING


@dataclass(frozen=True)
class Repair:
    """A setting that an interrupted run left on a node, and what to put back."""

    address: Address
    settings: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return f"put back on {self.address}: " + ", ".join(f"{name} {value}" for name, value in self.settings)


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        action: ``move``, ``finish`` (what an interrupted run began), ``join`` (a failover that is in progress), ``repair``
            (settings that an interrupted run left, nothing else), or ``nothing``.
        strategy: ``fenced``, ``coordinated`` or ``plain``; empty where nothing is moved.
        old_master: The master now.
        new_master: The replica to promote.
        siblings: The other replicas that Sentinel could choose and that have to catch up, too.
        others: All other replicas that should follow the new master afterwards.
        lagging: Siblings that Sentinel could choose and that are too far behind to be waited for.
        steering: Siblings whose priority is raised.
        priorities: The ``replica-priority`` of the candidates.
        any_candidate: Whether Sentinel may choose any of the candidates: each has everything.
        leaders: Sentinels that could lead, the best first.
        promotion: Who promotes: ``program`` or ``sentinel``; empty where nobody is promoted.
        promotion_reason: Why.
        epoch: The epoch at which some Sentinel names the new master of an interrupted run already.
        fence: ``pause`` or ``min_replicas``; empty without a fence.
        lease_ms: How long a pause lasts if it is not renewed.
        fence_budget_ms: How long the fence may stand before it is given up.
        repairs: What an interrupted run left.
        notes: What the caller should know.
    """

    action: str
    old_master: Address
    strategy: str = ""
    new_master: Address | None = None
    siblings: tuple[Address, ...] = ()
    others: tuple[Address, ...] = ()
    lagging: tuple[Address, ...] = ()
    steering: tuple[Steering, ...] = ()
    priorities: tuple[tuple[Address, int], ...] = ()
    any_candidate: bool = False
    leaders: tuple[Address, ...] = ()
    promotion: str = ""
    promotion_reason: str = ""
    epoch: int | None = None
    fence: str = ""
    lease_ms: int = 0
    fence_budget_ms: int = 0
    down_after_ms: int = 0
    write_stop_ms: int = 0
    repairs: tuple[Repair, ...] = ()
    notes: tuple[str, ...] = ()
    master_reachable: bool = True
    steps: tuple[str, ...] = field(default=())

    @property
    def replica_to_promote(self) -> Address:
        """The new master of a plan that promotes one.

        Raises:
            ValueError: This plan promotes nobody.
        """
        if self.new_master is None:
            raise ValueError(f"a plan to {self.action} promotes nobody")
        return self.new_master

    def as_result(self) -> dict[str, Any]:
        """The plan as the result carries it."""
        result: dict[str, Any] = {
            "action": self.action,
            "strategy": self.strategy,
            "old_master": self.old_master.as_result(),
            "new_master": self.new_master.as_result() if self.new_master else None,
            "siblings": [str(address) for address in self.siblings],
            "lagging": [str(address) for address in self.lagging],
            "leaders": [str(address) for address in self.leaders],
            "promotion": self.promotion or None,
            "promotion_reason": self.promotion_reason or None,
            "steering": {str(steer.address): {"from": steer.priority, "to": steer.raised} for steer in self.steering},
            "repairs": [str(repair) for repair in self.repairs],
            "notes": list(self.notes),
            "steps": list(self.steps or _steps(self)),
        }
        if self.action == MOVE:
            result.update(
                fence=self.fence,
                lease_ms=self.lease_ms,
                expected_write_stop_ms=self.write_stop_ms,
                worst_case_write_stop_ms=self.fence_budget_ms + SENTINEL_WRITE_STOP_MS
                if self.strategy == FENCED
                else None,
                write_stop_if_killed_ms=self.down_after_ms + SENTINEL_HEALS_MS if self.strategy == FENCED else None,
            )
        return result


def refuse(checks: Sequence[Check]) -> Refused:
    """One error that names every reason."""
    remedies = list(dict.fromkeys(check.remedy for check in checks if check.remedy))
    return Refused(
        checks[0].name,
        "; ".join(dict.fromkeys(check.detail for check in checks)),
        " ".join(remedies),
        phase="check",
        seen={"reasons": [check.as_result() for check in checks]},
    )


def decide(snapshot: Snapshot, request: Request, deaf: Collection[Address] = ()) -> Plan:
    """What to do.

    Args:
        snapshot: What everybody says.
        request: What the caller asks for.
        deaf: Sentinels that send us no events.

    Raises:
        Refused: Something speaks against it; every reason is named.
    """
    reachable = check_sentinels_reachable(snapshot, request.min_sentinels)
    _require(reachable)
    notes = tuple(check.detail for check in reachable if check.status != "ok")
    if not snapshot.informed_sentinels:
        _require(check_master_known(snapshot))
    joined = _in_progress(snapshot) or _half_told(snapshot)
    if joined is not None:
        return joined
    old_master = _agreed_master(snapshot, request)
    repairs = find_repairs(snapshot)
    settled = _half_finished(snapshot, request, old_master, repairs, deaf)
    settled = settled or _stays(snapshot, request, old_master, repairs, notes)
    if settled is not None:
        return settled
    lossy = request.strategy == PLAIN or is_down(snapshot)
    hard = MOVE_CHECKS if lossy else (*MOVE_CHECKS, *LOSSLESS_CHECKS)
    _require([check for demanded in hard for check in demanded(snapshot)])
    return _plan_move(snapshot, request, old_master, repairs, notes, deaf)


def _require(checks: Sequence[Check]) -> None:
    """See that none of these has failed.

    Raises:
        Refused: Some have.
    """
    failed = critical(checks)
    if failed:
        raise refuse(failed)


def _agreed_master(snapshot: Snapshot, request: Request) -> Address:
    """The master that all Sentinels name, if they are fit to move it.

    Raises:
        Refused: They are not, or name none.
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
        Refused: It is not the one that the caller expects.
    """
    if request.target is not None and snapshot.same(request.target, old_master):
        return Plan(NOTHING, old_master, repairs=repairs, notes=(*notes, f"{old_master} is the master already"))
    if request.expected_master is not None and not snapshot.same(request.expected_master, old_master):
        raise refuse(
            [
                Check(
                    "expected_master_mismatch",
                    "critical",
                    f"the master is {old_master}, not {request.expected_master} as expected",
                    "Somebody moved it: look at the deployment again before you go on.",
                )
            ]
        )
    _require_known_hosts(snapshot, request)
    if request.avoid and not snapshot.on_host(old_master, request.avoid):
        note = f"the master {old_master} is on none of the hosts to leave"
        return Plan(NOTHING, old_master, repairs=repairs, notes=(*notes, note))
    fenced_master = any(snapshot.same(repair.address, old_master) and _is_fence(repair) for repair in repairs)
    unasked = request.target is None and not request.avoid and request.expected_master is None
    if repairs and unasked and not fenced_master:
        note = (
            f"an interrupted run left its settings; they are put back, and the master stays {old_master}: it cannot be told whether that run had "
            "moved it already. Run again to move it, or say expected_master."
        )
        return Plan(REPAIR, old_master, repairs=repairs, notes=(*notes, note))
    return None


def _require_known_hosts(snapshot: Snapshot, request: Request) -> None:
    """At least one of the hosts to leave carries a server of this deployment; all addresses of one host may be given.

    Raises:
        Refused: None does. To go on would mean to take down a host that nothing has left.
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


def is_down(snapshot: Snapshot) -> bool:
    """Whether every Sentinel knows the master down by quorum."""
    return all(view.master is not None and view.master.objectively_down for view in snapshot.informed_sentinels)


def find_repairs(snapshot: Snapshot) -> tuple[Repair, ...]:
    """What an interrupted run left on the nodes."""
    repairs = [
        Repair(address, (("replica-priority", priority),)) for address, priority in steered_nodes(snapshot).items()
    ]
    for address, (count, lag) in fenced_nodes(snapshot).items():
        repairs.append(Repair(address, (("min-replicas-to-write", count), ("min-replicas-max-lag", lag))))
    return tuple(repairs)


def _is_fence(repair: Repair) -> bool:
    return any(name == "min-replicas-to-write" for name, _value in repair.settings)


def _in_progress(snapshot: Snapshot) -> Plan | None:
    for view in snapshot.informed_sentinels:
        if view.master is not None and view.master.failover_in_progress:
            return Plan(
                JOIN,
                view.master.address,
                leaders=(view.address,),
                others=_known_replicas(snapshot, ()),
                repairs=find_repairs(snapshot),
                notes=(
                    f"a failover led by Sentinel {view.address} is in progress ({view.master.failover_state}); it is joined, nothing is sent",
                ),
            )
    return None


def _known_replicas(snapshot: Snapshot, without: Sequence[Address]) -> tuple[Address, ...]:
    known: dict[Address, Address] = {}
    for view in snapshot.informed_sentinels:
        for entry in view.replicas:
            known.setdefault(snapshot.identity(entry.address), entry.address)
    for node in unlisted_replicas(snapshot):
        if node.reachable:
            known.setdefault(snapshot.identity(node.address), node.address)
    left_out = {
        snapshot.identity(address) for address in (*without, *(node.address for node in foreign_nodes(snapshot)))
    }
    return tuple(sorted(address for identity, address in known.items() if identity not in left_out))


def _half_told(snapshot: Snapshot) -> Plan | None:
    """An interrupted run had promoted a replica and told some Sentinels, not all; they spread it themselves within two seconds."""
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
    return Plan(
        FINISH,
        old,
        strategy=FENCED,
        new_master=promoted,
        others=_known_replicas(snapshot, (old, promoted)),
        leaders=tuple(view.address for view in aware),
        promotion=PROGRAM,
        promotion_reason="an interrupted run had begun to tell the Sentinels",
        epoch=max(epochs),
        down_after_ms=snapshot.down_after_ms,
        repairs=find_repairs(snapshot),
        notes=(
            f"an interrupted run had promoted {promoted} and told some Sentinels; the others are told, and it is not moved again",
        ),
    )


def _half_finished(
    snapshot: Snapshot, request: Request, old_master: Address, repairs: tuple[Repair, ...], deaf: Collection[Address]
) -> Plan | None:
    """An interrupted run had demoted the master and had not yet triggered the failover: no master is left."""
    node = snapshot.node(old_master)
    if node is None or not node.reachable or node.role is None or node.is_master or node.role.master is None:
        return None
    promoted = node.role.master
    heir = snapshot.node(promoted)
    if heir is None or not heir.reachable or is_foreign(snapshot, promoted):
        return None
    followed = heir.role.master if heir.role is not None and not heir.is_master else None
    if followed is not None and not snapshot.same(followed, old_master):
        return None
    shown = next((address for address in _known_replicas(snapshot, ()) if snapshot.same(address, promoted)), promoted)
    promoter = _promoter(snapshot, request, shown, _leaders(snapshot, shown), deaf)
    return Plan(
        FINISH,
        old_master,
        strategy=FENCED,
        new_master=shown,
        others=_known_replicas(snapshot, (old_master, promoted)),
        leaders=promoter.leaders,
        promotion=promoter.by,
        promotion_reason=promoter.reason,
        down_after_ms=snapshot.down_after_ms,
        repairs=repairs,
        notes=(
            f"an interrupted run had demoted {old_master} and left the promotion of {shown} to do; it is finished, and not moved again",
        ),
    )


def _leaders(snapshot: Snapshot, target: Address) -> list[SentinelView]:
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


def _promoter(
    snapshot: Snapshot, request: Request, candidate: Address, leaders: list[SentinelView], deaf: Collection[Address]
) -> Promoter:
    """Who promotes.

    Raises:
        Refused: The caller wants the program to, and it cannot.
    """
    addresses = [view.address for view in leaders]
    promoter = choose_promoter(snapshot, candidate, addresses, request.promotion, deaf)
    if request.promotion == PROGRAM and promoter.by != PROGRAM:
        raise failure("news_closed", f"the program cannot carry the news: {promoter.reason}")
    return promoter


def _plan_move(
    snapshot: Snapshot,
    request: Request,
    old_master: Address,
    repairs: tuple[Repair, ...],
    notes: tuple[str, ...],
    deaf: Collection[Address] = (),
) -> Plan:
    fitness = assess_replicas(snapshot, request.max_lag_bytes)
    target, preference = _choose(snapshot, request, fitness)
    notes = (*notes, *preference)
    leaders = _leaders(snapshot, target.address)
    permitted = critical(check_failover_permitted(snapshot, leaders))
    leaders = [view for view in leaders if not view.failover_refused]
    node = snapshot.node(old_master)
    others = _known_replicas(snapshot, (old_master, target.address))
    electable = [it for it in fitness if it.electable and it.address != target.address]
    rivals = [it for it in electable if it.priority <= target.priority]
    steering = tuple(Steering(it.address, it.priority) for it in rivals if not it.hidden)
    # One that cannot be asked cannot be waited for.
    waited = [it for it in electable if it.in_step and _is_asked(snapshot, it.address)]
    lagging = tuple(it.address for it in electable if it not in waited)
    if permitted:
        raise refuse(permitted)
    fence_budget_ms = min(int(request.catch_up_timeout_s * 1000), snapshot.down_after_ms // 2)
    common: dict[str, Any] = {
        "old_master": old_master,
        "new_master": target.address,
        "others": others,
        "lagging": lagging,
        "down_after_ms": snapshot.down_after_ms,
        "repairs": repairs,
        "master_reachable": node is not None and node.reachable,
    }
    chosen_by_us = request.target is not None or bool(request.avoid)
    promoter = _promoter(snapshot, request, target.address, leaders, deaf)
    unwanted = _unwanted_hidden(snapshot, request, rivals)
    if unwanted and promoter.by == SENTINEL:
        text = f"might be promoted by Sentinel, which does not show it, instead of {target.address}"
        raise refuse([hidden_check(unwanted, text)])
    # Where the program promotes, and where nobody cares which replica Sentinel chooses, any will do that has everything.
    any_candidate = promoter.by == PROGRAM or not (chosen_by_us or preference)
    needed = tuple(steer for steer in steering if steer.address in lagging or not any_candidate)
    blockers = _fenced_blockers(snapshot, target, needed)
    blockers += critical(check_hidden_replicas(snapshot, request.max_lag_bytes))
    # Without a master every link is down, and says nothing of what will be.
    blockers += check_writes_after(snapshot, target.address) if common["master_reachable"] else []
    if request.strategy in (AUTO, FENCED) and not blockers and node is not None:
        return Plan(
            MOVE,
            strategy=FENCED,
            siblings=tuple(it.address for it in waited),
            steering=needed,
            priorities=((target.address, target.priority), *((it.address, it.priority) for it in electable)),
            any_candidate=any_candidate,
            leaders=promoter.leaders,
            promotion=promoter.by,
            promotion_reason=promoter.reason,
            fence=PAUSE_FENCE if node.write_pause else MIN_REPLICAS_FENCE,
            lease_ms=min(LONGEST_LEASE_MS, snapshot.down_after_ms // 4),
            fence_budget_ms=fence_budget_ms,
            write_stop_ms=_write_stop_ms(snapshot, target.address, promoter.by),
            notes=(
                *notes,
                *(
                    f"{it.address} could be chosen by Sentinel and is not waited for: {it.why_not}"
                    for it in electable
                    if not it.in_step
                ),
            ),
            **common,
        )
    if request.strategy == FENCED:
        raise refuse(blockers)
    if request.strategy != PLAIN and any(check.name not in OUT_OF_OUR_REACH for check in blockers):
        # Whoever demotes this master would run into it; no other strategy helps.
        raise refuse(blockers)
    unsteerable = [s.address for s in steering if not _may(snapshot.node(s.address), SETTING_COMMANDS)]
    if unsteerable and chosen_by_us:
        raise refuse([_not_steerable(unsteerable, target.address), *blockers])
    if not unsteerable and (chosen_by_us or preference):
        common["steering"] = steering
    return _plan_unfenced(snapshot, request, leaders, blockers, notes, common)


def _not_steerable(unsteerable: Sequence[Address], target: Address) -> Check:
    return Check(
        "target_not_steerable",
        "critical",
        f"Sentinel might choose {', '.join(map(str, unsteerable))} instead of {target}, and its priority cannot be set from here",
        "Let this host reach the replicas with a user that may CONFIG SET, or do not name a target.",
    )


def _write_stop_ms(snapshot: Snapshot, candidate: Address, promotion: str) -> int:
    """How long writes are expected to stand still."""
    if promotion == SENTINEL:
        return SENTINEL_WRITE_STOP_MS
    node = snapshot.node(candidate)
    demands = node is not None and (node.number("min-replicas-to-write") or 0) > 0
    old = node is not None and node.compatible_version < (6, 2, 0)
    return NO_GOOD_REPLICA_YET_MS if demands and old else PROGRAM_WRITE_STOP_MS


def _unwanted_hidden(snapshot: Snapshot, request: Request, rivals: Sequence[Fitness]) -> list[Fitness]:
    """Replicas that Sentinel may promote instead of the one that the caller wants, and that cannot be seen to be steered away from."""
    return [
        it for it in rivals if it.hidden and (request.target is not None or snapshot.on_host(it.address, request.avoid))
    ]


def _plan_unfenced(
    snapshot: Snapshot,
    request: Request,
    leaders: list[SentinelView],
    blockers: list[Check],
    notes: tuple[str, ...],
    common: dict[str, Any],
) -> Plan:
    down = is_down(snapshot)
    capable = [view for view in leaders if view.coordinated]
    why = tuple(f"not fenced: {check.detail}" for check in blockers)
    if request.strategy == COORDINATED or (request.strategy == AUTO and capable and not down):
        if not capable:
            raise refuse(
                [
                    Check(
                        "strategy_unavailable",
                        "critical",
                        f"no fit Sentinel knows COORDINATED ({', '.join(sorted({'.'.join(map(str, v.version)) for v in leaders}))}); Valkey 9 does",
                        "Use strategy=fenced.",
                    )
                ]
            )
        return Plan(
            MOVE,
            strategy=COORDINATED,
            leaders=_last_asked_first(snapshot, capable),
            promotion=SENTINEL,
            promotion_reason="COORDINATED is Sentinel's own",
            write_stop_ms=2_000,
            notes=(*notes, *why),
            **common,
        )
    if request.strategy == PLAIN or down:
        _require_acceptance(snapshot, request)
        loss = (
            "the master is down: what it had not replicated is lost"
            if down
            else "writes that the old master acknowledges meanwhile are lost"
        )
        return Plan(
            MOVE,
            strategy=PLAIN,
            leaders=_last_asked_first(snapshot, leaders),
            promotion=SENTINEL,
            promotion_reason="SENTINEL FAILOVER alone",
            write_stop_ms=11_000,
            notes=(*notes, *why, loss),
            **common,
        )
    raise refuse(
        [
            *blockers,
            Check(
                "no_lossless_way",
                "critical",
                "no strategy is left that loses nothing, and the master is not down",
                _instead_of_losing(snapshot),
            ),
        ]
    )


def _require_acceptance(snapshot: Snapshot, request: Request) -> None:
    """``plain`` throws away what a master that lives acknowledges: it wants a word, or a master that is dead beyond doubt.

    Raises:
        Refused: There is neither.
    """
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
        f"If the master is up, mend the way from here to it. If it is down, no Sentinel majority has said so yet: Sentinel does {snapshot.down_after_ms // 1000} s "
        "after the last answer, and then moves it by itself within some seconds. Wait, and look with topology_info."
    )


def _choose(snapshot: Snapshot, request: Request, fitness: list[Fitness]) -> tuple[Fitness, tuple[str, ...]]:
    """The replica to promote, and a note where it is neither the one asked for nor Sentinel's own choice."""
    if request.target is not None:
        named = next((it for it in fitness if snapshot.same(it.address, request.target)), None)
        if named is None:
            raise refuse(
                [
                    Check(
                        "target_unknown",
                        "critical",
                        f"{request.target} is no replica of {snapshot.master_name}; its replicas are {', '.join(sorted(str(it.address) for it in fitness))}",
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
        if not named.fit:
            raise refuse(
                [
                    Check(code, "critical", f"{named.address}: {text}", REPLICA_REMEDIES.get(code, ""))
                    for code, text in named.objections
                ]
            )
        return named, ()
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
    fit = [it for it in allowed if it.fit]
    if not fit:
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
    takes_writes = [it for it in fit if not too_few_after(snapshot, it.address)]
    return _suited_by_version(snapshot, takes_writes or fit)


def _suited_by_version(snapshot: Snapshot, fit: list[Fitness]) -> tuple[Fitness, tuple[str, ...]]:
    """Of those with the lowest priority: with the master's own version if there is one, else a newer one, else an older one.

    What a newer master sends, an older replica may be unable to load; an older master may lack what clients use.
    """
    first = fit[0]
    equals = [(it, snapshot.node(it.address)) for it in fit if it.priority == first.priority]
    known = [(it, node) for it, node in equals if node is not None and node.reachable]
    master = snapshot.node(snapshot.master_address)
    if master is None or not master.reachable or known[:1] != equals[:1]:
        return first, ()

    def unlike_the_master(candidate: tuple[Fitness, NodeView]) -> int:
        node = candidate[1]
        return 0 if node.same_series(master) else 2 if node.older_than(master) else 1

    best, runs = min(known, key=unlike_the_master)
    if best is first:
        return first, ()
    passed = known[0][1]
    return best, (
        f"{best.address} is preferred to {first.address} for its version: {runs.product} {runs.dotted_version}, not"
        f" {passed.product} {passed.dotted_version}; the master runs {master.product} {master.dotted_version}",
    )


def _is_asked(snapshot: Snapshot, address: Address) -> bool:
    node = snapshot.node(address)
    return node is not None and node.reachable


def _may(node: NodeView | None, commands: Sequence[str]) -> bool:
    return node is not None and node.reachable and not _refusals(node, commands)


def _refusals(node: NodeView, commands: Sequence[str]) -> dict[str, str]:
    wanted = {*commands, *TRANSACTION_COMMANDS}
    return {name: text for name, text in node.refused.items() if name in wanted}


def _fenced_blockers(snapshot: Snapshot, target: Fitness, steering: tuple[Steering, ...]) -> list[Check]:
    """Why the fenced strategy cannot be used."""
    blockers = critical(check_master_node(snapshot))
    master = snapshot.node(snapshot.master_address)
    heir = snapshot.node(target.address)
    if master is not None and master.reachable and master.is_master:
        fence_commands = PAUSE_COMMANDS if master.write_pause else SETTING_COMMANDS
        blockers += _command_checks(master, (*OLD_MASTER_COMMANDS, *fence_commands), "the old master")
        blockers += check_connections(master, "the old master")
    if heir is None or not heir.reachable:
        blockers.append(
            access_check(
                "node", target.address, heir.error if heir else "nobody asked it", heir.error_code if heir else ""
            )
        )
    elif master is not None and master.reachable:
        blockers += _follow_checks(master, heir)
        blockers += check_connections(heir, "the replica to promote")
        if heir.compatible_version < MINIMUM_SERVER:
            blockers.append(
                Check(
                    "server_too_old",
                    "critical",
                    f"{heir.address} runs a version before 6.0",
                    "Upgrade it.",
                )
            )
    for steer in steering:
        node = snapshot.node(steer.address)
        if node is None or not node.reachable:
            blockers.append(
                access_check(
                    "node", steer.address, node.error if node else "nobody asked it", node.error_code if node else ""
                )
            )
        else:
            blockers += _command_checks(node, SETTING_COMMANDS, "a replica that must not be chosen")
    return blockers


def _command_checks(node: NodeView, commands: Sequence[str], part: str) -> list[Check]:
    refusals = _refusals(node, commands)
    if not refusals:
        return []
    said = "; ".join(f"{name}: {text}" for name, text in refusals.items())
    permission = any("NOPERM" in text for text in refusals.values())
    return [
        Check(
            "node_not_permitted" if permission else "command_unavailable",
            "critical",
            f"{node.address} ({part}) refuses {', '.join(refusals)} ({said})",
            "Give our user these permissions (docs/permissions.md)." if permission else RENAMED_REMEDY,
        )
    ]


def _follow_checks(master: NodeView, heir: NodeView) -> list[Check]:
    if heir.password_set and master.master_auth_set is False:
        return [
            Check(
                "masterauth_missing",
                "critical",
                f"{heir.address} wants a password, and {master.address} has no masterauth: demoted, it could not follow",
                "CONFIG SET masterauth (and masteruser) on every node, the master too, and CONFIG REWRITE.",
            )
        ]
    return []


def _steps(plan: Plan) -> list[str]:
    """What a run would do, one line a step."""
    steps = [str(repair) for repair in plan.repairs]
    if plan.action == JOIN:
        return [
            "wait until the failover that is in progress has ended",
            "check that every replica follows the new master",
            *steps,
        ]
    if plan.action in (NOTHING, REPAIR) or plan.new_master is None:
        return steps
    raised = [
        f"raise replica-priority on {steer.address} from {steer.priority} to {steer.raised}" for steer in plan.steering
    ]
    steps += _demotion_lines(plan, raised) if plan.strategy == FENCED and plan.action == MOVE else raised
    if plan.strategy == COORDINATED:
        steps.append("lower failover-timeout on the leading Sentinel for the time of the failover")
    word = " COORDINATED" if plan.strategy == COORDINATED else ""
    steps.append(f"send SENTINEL FAILOVER{word} to one of {', '.join(map(str, plan.leaders))}")
    if plan.promotion == PROGRAM:
        steps.append(f"make {plan.new_master} the master, and tell the Sentinels")
    steps.append(f"see {plan.new_master} become the master, and every Sentinel name it")
    if plan.strategy == FENCED:
        steps.append(f"rewrite the configuration of {plan.old_master} and close its clients' connections")
    steps.append(f"see every replica follow {plan.new_master}")
    if plan.steering:
        steps.append("put the priorities back")
    return steps


def _demotion_lines(plan: Plan, raised: Sequence[str]) -> list[str]:
    if plan.fence == PAUSE_FENCE:
        fence = f"pause writes on {plan.old_master}, {plan.lease_ms} ms at a time"
    else:
        fence = f"refuse writes on {plan.old_master} by min-replicas-to-write"
    waited = ", ".join(str(address) for address in (plan.new_master, *plan.siblings))
    return [
        f"see {plan.new_master} reach the master's offset while writes go on",
        *raised,
        fence,
        f"see {waited} apply everything that {plan.old_master} acknowledged",
        f"make {plan.old_master} a replica of {plan.new_master}",
    ]


def understood(request: Request) -> str:
    """One line: what the program has understood of what it is asked for."""
    words = [
        f"master {request.master_name}",
        f"target {request.target or 'any'}",
        f"leave {', '.join(request.avoid) or 'none'}",
        f"expected {request.expected_master or 'any'}",
        f"strategy {request.strategy}",
        f"promotion {request.promotion}",
    ]
    if request.min_sentinels is not None:
        words.append(f"at least {request.min_sentinels} Sentinels")
    if request.not_after:
        words.append(f"not after {request.not_after}")
    if request.accept_loss:
        words.append("loss accepted")
    return "; ".join(words)


def way_back(request: Request, sentinels: Sequence[Address], old_master: Address, new_master: Address) -> str:
    """The ready command that moves the master back."""
    words = {
        "sentinels": ",".join(map(str, sentinels)),
        "master_name": request.master_name,
        "target": old_master,
        "expected_master": new_master,
    }
    options = " ".join(f"{name}={value}" for name, value in words.items())
    return f"ansible localhost -m redis_ha.sentinel.failover -a {shlex.quote(options)}"
