# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which masters leave some hosts, and where each of them goes.

For each master it is decided as for a single move (``_decide.decide``). What is added is the choice among replicas that are equally suited: the
new masters are spread over the hosts that stay. Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._candidate import equally_suited
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._decide import decide
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import MOVE, NOTHING, Plan, refuse
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Host, Snapshot

QUICK_MS = 15.0
SLOW_MS = 30.0
"""What everybody needs to answer once. The leading Sentinel gives the program about a hundred milliseconds for the promotion, which takes some such answers
(``_promotion.LATEST_PROMOTION_MS``)."""


@dataclass(frozen=True)
class DrainRequest:
    """What the caller asks for: the options of ``redis_ha.sentinel.drain``.

    Attributes:
        hosts: The hosts to leave.
        each: What is asked for of every master, but for its name, its target and the hosts to leave.
        master_names: The masters that it is about; empty for all that the Sentinels watch.
        targets: Where a master is to go, by its name.
        max_parallel: How many are moved at once, at most.
        stop_on_failure: Whether no further one is begun once one has failed.
    """

    hosts: tuple[str, ...]
    each: Request
    master_names: tuple[str, ...] = ()
    targets: Mapping[str, Address] = field(default_factory=dict)
    max_parallel: int = 4
    stop_on_failure: bool = False

    def of(self, master_name: str) -> Request:
        """What is asked for of one master."""
        return replace(self.each, master_name=master_name, target=self.targets.get(master_name), avoid=self.hosts)


@dataclass(frozen=True)
class Row:
    """What is planned for one master.

    Attributes:
        name: Its name.
        request: The single move that does it.
        plan: What that move would do; ``None`` where it is refused.
        refused: Why it is.
    """

    name: str
    request: Request
    plan: Plan | None = None
    refused: RefusedError | None = None

    @property
    def action(self) -> str:
        """What is to be done, as in ``Plan``; ``refused`` where nothing may be."""
        return self.plan.action if self.plan else "refused"

    @property
    def is_to_do(self) -> bool:
        """Whether something is to be done for this master."""
        return self.plan is not None and (self.plan.action != NOTHING or bool(self.plan.repairs))

    @property
    def moves(self) -> bool:
        """Whether it is a move that nobody has begun yet."""
        return self.action == MOVE

    def as_result(self) -> dict[str, Any]:
        """The row as the module returns it."""
        plan = self.plan
        new_master = plan.new_master if plan and plan.new_master else None
        return {
            "name": self.name,
            "action": self.action,
            "old_master": str(plan.old_master) if plan else None,
            "planned_master": str(new_master) if new_master else None,
            "reason": self.refused.message if self.refused else None,
        }


@dataclass(frozen=True)
class DrainPlan:
    """Who goes where.

    Attributes:
        rows: What is planned for each master, by name.
        load: How many masters each host has now, by its IP address.
        load_after: How many it is to have.
        spelled: How each of these hosts is called in the tables of the Sentinels.
        unknown_hosts: Of the hosts to leave, those on which no server was found.
    """

    rows: tuple[Row, ...]
    load: Mapping[str, int]
    load_after: Mapping[str, int]
    spelled: Mapping[str, str]
    unknown_hosts: tuple[str, ...] = ()

    def hosts_as_result(self) -> list[dict[str, Any]]:
        """How many masters each host has and is to have, as the module returns it."""
        return [
            {
                "host": self.spelled.get(host, host),
                "masters": self.load.get(host, 0),
                "masters_planned": self.load_after.get(host, 0),
            }
            for host in sorted({*self.load, *self.load_after})
        ]


def plan_drain(snapshots: Mapping[str, Snapshot], request: DrainRequest) -> DrainPlan:
    """What is to be done for each master.

    Args:
        snapshots: What everybody says of each master, by its name; of those that are to be moved with settings and probes.
        request: What the caller asks for.

    Raises:
        RefusedError: No server of any of these masters is on any of the hosts to leave, or a target is for a master that it is not about.
    """
    unknown = _require_known_hosts(snapshots, request)
    _require_known_targets(snapshots, request)
    rows = {name: _row(snapshot, request.of(name)) for name, snapshot in sorted(snapshots.items())}
    load = _load(snapshots)
    free = {
        name: equally_suited(snapshots[name], row.request)
        for name, row in rows.items()
        if row.moves and row.request.target is None
    }
    others = _without(load, snapshots, (name for name, row in rows.items() if row.moves))
    fixed = [
        _host(snapshots[name], row.plan.new_master)
        for name, row in rows.items()
        if row.plan and row.plan.new_master and row.moves and name not in free
    ]
    chosen = _spread(snapshots, free, Counter(others) + Counter(fixed))
    for name, order in chosen.items():
        rows[name] = _first_that_may(snapshots[name], rows[name], order)
    after = Counter(others)
    after.update(
        _host(snapshots[name], row.plan.new_master)
        for name, row in rows.items()
        if row.plan and row.plan.new_master and row.moves
    )
    return DrainPlan(tuple(rows.values()), load, after, _spelled(snapshots), unknown)


def _row(snapshot: Snapshot, request: Request) -> Row:
    """What a single move would do for this master."""
    if not servers_on(snapshot, request.avoid):
        master = snapshot.master_address
        note = f"no server of {request.master_name} is on a host to leave"
        if master is not None:
            return Row(request.master_name, request, Plan(NOTHING, master, notes=(note,)))
    try:
        return Row(request.master_name, request, decide(snapshot, request))
    except RefusedError as refused:
        row = Row(request.master_name, request, refused=refused)
        if request.target is not None or snapshot.master_address is None:
            return row
        # Something may speak against the first replica alone, as a node that takes no more connections.
        tried = _first_that_may(snapshot, row, equally_suited(snapshot, request))
        return replace(tried, request=request, refused=None) if tried.plan else row


def _first_that_may(snapshot: Snapshot, row: Row, order: Sequence[Address]) -> Row:
    """The same with the first replica that every hard requirement lets be promoted. The one of the row is."""
    for address in order:
        if row.plan is not None and snapshot.same(address, row.plan.new_master):
            break
        try:
            request = replace(row.request, target=address)
            return replace(row, request=request, plan=decide(snapshot, request))
        except RefusedError:
            continue
    return replace(row, request=replace(row.request, target=row.plan.new_master)) if row.plan else row


def pace(at_once: int, most: int, recheck_ms: float | None) -> int:
    """How many masters are to be under way from now on.

    Args:
        at_once: How many may be now, at least 1.
        most: How many may be at most.
        recheck_ms: How long everybody took to answer right before the last write stop, in milliseconds; ``None`` if nobody was asked.
    """
    if recheck_ms is None or QUICK_MS < recheck_ms <= SLOW_MS:
        return at_once
    return max(1, at_once // 2) if recheck_ms > SLOW_MS else min(most, at_once + 1)


# ---- hosts -----------------------------------------------------------------------------------------------------------


def servers_on(snapshot: Snapshot, hosts: Iterable[str]) -> list[Address]:
    """The servers of a master, Sentinels among them, that are on one of these hosts."""
    wanted = tuple(hosts)
    return [address for address in _servers(snapshot) if snapshot.on_host(address, wanted)]


def _servers(snapshot: Snapshot) -> list[Address]:
    known = [view.address for view in snapshot.sentinels] + [node.address for node in snapshot.nodes]
    known += [entry.address for view in snapshot.informed_sentinels for entry in view.replicas]
    return list(dict.fromkeys(known))


def _require_known_hosts(snapshots: Mapping[str, Snapshot], request: DrainRequest) -> tuple[str, ...]:
    """At least one of the hosts carries a server; all addresses of one host may be given. Those on which there is none.

    Raises:
        RefusedError: None does. To go on would mean to take down a host that nothing has left.
    """
    unknown = tuple(
        host for host in request.hosts if not any(servers_on(snapshot, (host,)) for snapshot in snapshots.values())
    )
    if not snapshots or len(unknown) < len(request.hosts):
        return unknown
    known = sorted({address.host for snapshot in snapshots.values() for address in _servers(snapshot)})
    raise refuse(
        [
            Check(
                "hosts_unknown",
                "critical",
                f"no server is on {', '.join(request.hosts)}; the servers are on {', '.join(known)}",
                "Name the host as Sentinel shows it. All addresses of a host may be given (ansible_all_ipv4_addresses): one of them must be among these.",
            )
        ]
    )


def _require_known_targets(snapshots: Mapping[str, Snapshot], request: DrainRequest) -> None:
    strangers = sorted(set(request.targets) - set(snapshots))
    if strangers:
        raise refuse(
            [
                Check(
                    "targets_unknown",
                    "critical",
                    f"targets names {', '.join(strangers)}, which is not among the masters to look at",
                    "Name masters as Sentinel does (topology_info lists them), and among master_names if that is given.",
                )
            ]
        )


# ---- load ------------------------------------------------------------------------------------------------------------


def _host(snapshot: Snapshot, address: Address | None) -> str:
    return snapshot.identity(address).host if address is not None else ""


def _master_hosts(snapshots: Mapping[str, Snapshot]) -> list[Host]:
    """The host of every master that is known, those that are not to be looked at too."""
    known = next((dict(snapshot.master_hosts) for snapshot in snapshots.values()), {})
    for name, snapshot in snapshots.items():
        if (address := snapshot.master_address) is not None:
            known[name] = Host(_host(snapshot, address), address.host)
    return list(known.values())


def _load(snapshots: Mapping[str, Snapshot]) -> Counter[str]:
    """How many masters each host has; the hosts of replicas with none."""
    load = Counter(host.address for host in _master_hosts(snapshots))
    for snapshot in snapshots.values():
        for node in snapshot.nodes:
            load.setdefault(_host(snapshot, node.address), 0)
    return load


def _without(load: Counter[str], snapshots: Mapping[str, Snapshot], leaving: Iterable[str]) -> Counter[str]:
    left = Counter(load)
    left.subtract(_host(snapshots[name], snapshots[name].master_address) for name in leaving)
    return left


def _spelled(snapshots: Mapping[str, Snapshot]) -> dict[str, str]:
    spelled = {host.address: host.spelled for host in reversed(_master_hosts(snapshots))}
    for snapshot in snapshots.values():
        for node in snapshot.nodes:
            spelled.setdefault(_host(snapshot, node.address), node.address.host)
    return spelled


def _spread(
    snapshots: Mapping[str, Snapshot], free: Mapping[str, Sequence[Address]], load: Mapping[str, int]
) -> dict[str, list[Address]]:
    """For each master its replicas in the order in which to try them: first the one on the host that it is given, then by load."""
    by_host = {
        name: {_host(snapshots[name], address): address for address in reversed(candidates)}
        for name, candidates in free.items()
    }
    # Reversed twice: of two on one host the first is kept, and the hosts stand in the order of the replicas.
    given, final = spread({name: list(reversed(list(hosts))) for name, hosts in by_host.items()}, load)
    return {
        name: [
            by_host[name][host] for host in sorted(hosts, key=lambda host: (host != given[name], final.get(host, 0)))
        ]
        for name, hosts in by_host.items()
    }


def spread(choices: Mapping[str, Sequence[str]], load: Mapping[str, int]) -> tuple[dict[str, str], dict[str, int]]:
    """Give each master one of its hosts, so that the fullest host has as few masters as can be, and the rest are as even as can be.

    Each master in turn takes the emptiest host that can be reached by moving earlier ones to other hosts of theirs; that is optimal (an optimal
    semi-matching: Harvey, Ladner, Lovasz, Tamir 2006).

    Args:
        choices: For each master the hosts that it may go to, the best first.
        load: How many masters each host has beside these.

    Returns:
        The host of each master, and the load of each host then.
    """
    given: dict[str, str] = {}
    final = dict(load)
    for name in sorted(choices, key=lambda name: (len(choices[name]), name)):
        if choices[name]:
            _take(name, choices, given, final)
    return given, final


def _take(name: str, choices: Mapping[str, Sequence[str]], given: dict[str, str], load: dict[str, int]) -> None:
    """Give one more master a host, along the way to the emptiest that can be reached."""
    came_by: dict[str, tuple[str, str | None]] = dict.fromkeys(choices[name], (name, None))
    to_look_at = deque(came_by)
    while to_look_at:
        host = to_look_at.popleft()
        for other in sorted(it for it, on in given.items() if on == host):
            for further in choices[other]:
                if further not in came_by:
                    came_by[further] = (other, host)
                    to_look_at.append(further)
    # The first of the emptiest: it moves the fewest, and is the best for the one that comes.
    end: str | None = min(came_by, key=lambda host: load.get(host, 0))
    load[str(end)] = load.get(str(end), 0) + 1
    while end is not None:
        mover, before = came_by[end]
        given[mover] = end
        end = before
