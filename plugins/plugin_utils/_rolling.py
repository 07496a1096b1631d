# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rolling maintenance: in which order the hosts are taken away, whether the next one may go, and what is left to do.

Pure: what was seen goes in, what follows comes out. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._names import listed
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._places import host_of, host_part

Result = Mapping[str, Any]

READY_MADE = ("restart", "reboot", "upgrade")
"""The maintenance that comes with the role."""

NOT_KNOWN_WHY = "it is not known why"


@dataclass(frozen=True)
class Node:
    """A data node: its address, the inventory host that it is on (empty if none), and whether it could take over."""

    address: str
    host: str
    fit: bool
    priority: int


@dataclass(frozen=True)
class Watcher:
    """A Sentinel: its address, the inventory host that it is on (empty if none), whether it answers."""

    address: str
    host: str
    answers: bool


@dataclass(frozen=True)
class Group:
    """One master with its replicas and Sentinels.

    Attributes:
        name: The name of the master.
        master: Its address; empty if the Sentinels do not agree.
        nodes: All nodes, the master among them.
        watchers: All Sentinels.
        needed: How many Sentinels must be left: the quorum, and a majority of those that are known.
    """

    name: str
    master: str
    nodes: tuple[Node, ...]
    watchers: tuple[Watcher, ...]
    needed: int

    def on(self, hosts: Iterable[str]) -> list[Node]:
        """The nodes that are on these hosts."""
        away = set(hosts)
        return [node for node in self.nodes if node.host in away]

    def touched_by(self, hosts: Iterable[str]) -> bool:
        """Whether a server of this master is on one of these hosts."""
        away = set(hosts)
        return bool(away & {*(node.host for node in self.nodes), *(watcher.host for watcher in self.watchers)})

    def master_on(self, hosts: Iterable[str]) -> bool:
        """Whether the master is on one of these hosts."""
        return any(node.address == self.master for node in self.on(hosts))


@dataclass(frozen=True)
class Record:
    """What the state file holds.

    Attributes:
        hosts: The hosts that this maintenance is about.
        done: Those that are done.
        masters: Where each master was when it began: name -> ``host:port``.
        began_at: When it began, in UTC.
        ended_at: When all of it was done; empty as long as it is not.
    """

    hosts: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    masters: Mapping[str, str] = field(default_factory=dict)
    began_at: str = ""
    ended_at: str = ""

    def as_result(self) -> dict[str, Any]:
        return {
            "hosts": list(self.hosts),
            "done": list(self.done),
            "masters": dict(self.masters),
            "began_at": self.began_at,
            "ended_at": self.ended_at,
        }


class RefusalError(Exception):
    """What speaks against going on, in one sentence."""


# ---- what is there -----------------------------------------------------------------------------------------------------


def read_groups(masters: Mapping[str, Result], hosts: Mapping[str, Iterable[str]]) -> list[Group]:
    """The masters that ``topology_info`` returned, with each server on its host of the inventory.

    Args:
        masters: RV masters of ``topology_info``.
        hosts: Inventory host -> its addresses, as ``host_addresses`` returns them.
    """
    return [_group(name, view, hosts) for name, view in masters.items()]


def _group(name: str, view: Result, hosts: Mapping[str, Iterable[str]]) -> Group:
    master = str(view.get("master") or "")
    nodes = tuple(_node(row, master, hosts) for row in view.get("nodes") or () if not row.get("foreign"))
    sentinels = view.get("sentinels") or ()
    watchers = tuple(Watcher(row["address"], host_of(row["address"], hosts), not row["error"]) for row in sentinels)
    known = max((1 + len(row.get("sentinels") or ()) for row in sentinels), default=0)
    quorum = max((int(row.get("quorum") or 0) for row in sentinels), default=0)
    return Group(name, master, nodes, watchers, max(quorum, known // 2 + 1))


def _node(row: Result, master: str, hosts: Mapping[str, Iterable[str]]) -> Node:
    replication = row.get("replication") or {}
    answers = not row["error"] and not row.get("loading")
    fit = bool(answers and (row["address"] == master or (row["role"] == "replica" and replication.get("link_up"))))
    priority = replication.get("priority")
    return Node(row["address"], host_of(row["address"], hosts), fit, 100 if priority is None else int(priority))


def wanted_hosts(
    asked: Any, groups: Mapping[str, Iterable[str]], places: Sequence[str], found: Sequence[Group]
) -> list[str]:
    """The hosts of the inventory that the maintenance is about, in the order of the inventory.

    Args:
        asked: Names of hosts and groups; empty for every host that carries a server.
        groups: The groups of the inventory.
        places: The hosts of the inventory.
        found: The masters.

    Raises:
        RefusalError: A name that nobody has, or a host that carries no server.
    """
    names = listed(asked)
    for name in names:
        if name not in groups and name not in places:
            raise RefusalError(f"The inventory has no host and no group {name}.")
    named = {host for name in names for host in groups.get(name, [name])}
    chosen = [
        place for place in places if (place in named if names else any(group.touched_by([place]) for group in found))
    ]
    where = "by its name, its ansible_host or its redis_ha_address"
    if not chosen:
        raise RefusalError(f"No host of the inventory carries a server that the Sentinels know, {where}.")
    for host in chosen:
        if not any(group.touched_by([host]) for group in found):
            raise RefusalError(f"{host} carries no server that the Sentinels know, {where}.")
    return chosen


# ---- in which order, and whether the next may go -----------------------------------------------------------------------


def why_not(groups: Sequence[Group], batch: Sequence[str], min_replicas: int) -> str:
    """Why these hosts may not be away together now, in one sentence; empty if they may.

    Args:
        groups: The masters.
        batch: The hosts.
        min_replicas: How many replicas in sync each master must keep.
    """
    together = " and ".join(batch)
    for group in groups:
        if not group.touched_by(batch):
            continue
        if not group.master:
            return f"{together} cannot be taken away: the Sentinels do not name one master of {group.name}."
        reason = _too_few_sentinels(group, batch) or _too_few_replicas(group, batch, min_replicas)
        if reason:
            return f"{together} cannot be taken away: {reason}"
    return ""


def _too_few_sentinels(group: Group, batch: Sequence[str]) -> str:
    if not any(watcher.host in batch for watcher in group.watchers):
        return ""
    left = sum(1 for watcher in group.watchers if watcher.answers and watcher.host not in batch)
    if left >= group.needed:
        return ""
    return f"{left} of {len(group.watchers)} Sentinels of {group.name} would be left, and {group.needed} are needed."


def _too_few_replicas(group: Group, batch: Sequence[str], min_replicas: int) -> str:
    if not group.on(batch):
        return ""
    stay = [node for node in group.nodes if node.host not in batch and node.fit]
    # Of those that stay, one is the master, or will be.
    left = len(stay) - 1
    if left < 0:
        return f"every node of {group.name} that is in sync would be away."
    if left >= min_replicas:
        return ""
    least = f"{min_replicas} {'is' if min_replicas == 1 else 'are'} wanted (rolling_min_replicas)"
    return f"{left} replicas of {group.name} in sync would be left, and {least}."


def batches(groups: Sequence[Group], wanted: Sequence[str], serial: int, min_replicas: int) -> list[list[str]]:
    """The hosts in the order in which they are taken away, those that go together in one list.

    Hosts without a master come first: what is drained later then goes to a host that is done. Of the others, those with fewer masters come first.
    Two hosts that carry nodes of one master never go together.

    Args:
        groups: The masters.
        wanted: The hosts.
        serial: How many may go together, at most.
        min_replicas: How many replicas in sync each master must keep.

    Raises:
        RefusalError: A host that cannot be taken away even by itself.
    """
    for host in wanted:
        reason = why_not(groups, [host], min_replicas)
        if reason:
            raise RefusalError(reason)
    position = {host: number for number, host in enumerate(wanted)}
    left = sorted(wanted, key=lambda host: (masters_on(groups, host), position[host]))
    found: list[list[str]] = []
    while left:
        batch = [left.pop(0)]
        # A host without masters waits for none with masters.
        alike = [host for host in left if (masters_on(groups, host) == 0) == (masters_on(groups, batch[0]) == 0)]
        for host in alike:
            if len(batch) < serial and _may_join(groups, batch, host, min_replicas):
                batch.append(host)
                left.remove(host)
        found.append(batch)
    return found


def masters_on(groups: Sequence[Group], host: str) -> int:
    """How many masters a host carries."""
    return sum(1 for group in groups if group.master_on([host]))


def _may_join(groups: Sequence[Group], batch: Sequence[str], host: str, min_replicas: int) -> bool:
    shared = any(group.on(batch) and group.on([host]) for group in groups)
    return not shared and not why_not(groups, [*batch, host], min_replicas)


def targets(groups: Sequence[Group], batch: Sequence[str], done: Iterable[str]) -> dict[str, str]:
    """Where the masters of the hosts are best moved to: a replica on a host that is done, so that none is moved twice.

    Of those that Sentinel would take as gladly, the one on the host with the fewest masters. A master that has none such is left out.

    Args:
        groups: The masters.
        batch: The hosts that are left.
        done: The hosts that are done.
    """
    finished = set(done) - set(batch)
    load = {host: masters_on(groups, host) for host in finished}
    found = {}
    for group in groups:
        if not group.master_on(batch):
            continue
        fit = [node for node in group.nodes if node.fit and node.priority > 0 and node.host not in batch]
        least = min((node.priority for node in fit), default=0)
        best = [node for node in fit if node.priority == least and node.host in finished]
        if best:
            chosen = min(best, key=lambda node: (load[node.host], node.address))
            load[chosen.host] += 1
            found[group.name] = chosen.address
    return found


def expected(groups: Sequence[Group], batch: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """The servers that are to be back before the next host goes: those of every master that these hosts have to do with."""
    return {
        group.name: {
            "nodes": [node.address for node in group.nodes],
            "sentinels": [watcher.address for watcher in group.watchers],
        }
        for group in groups
        if group.touched_by(batch)
    }


# ---- what was done, and what is left ------------------------------------------------------------------------------------


def read_record(text: str) -> Record:
    """The state file; an empty text is one of which nothing was done.

    Raises:
        RefusalError: It is something else.
    """
    if not text.strip():
        return Record()
    try:
        found = json.loads(text)
        return Record(
            tuple(found["hosts"]),
            tuple(found["done"]),
            dict(found["masters"]),
            str(found["began_at"]),
            str(found["ended_at"]),
        )
    except (ValueError, TypeError, LookupError) as error:
        raise RefusalError(
            "The file rolling_state_file was not written by this role. Name another one, or remove it."
        ) from error


def go_on(record: Record, wanted: Sequence[str], groups: Sequence[Group], now: str) -> Record:
    """The record to go on with: the one that was left half done, or a new one.

    Raises:
        RefusalError: What was left half done is about other hosts.
    """
    if not record.began_at or record.ended_at:
        return Record(tuple(wanted), (), {group.name: group.master for group in groups if group.master}, now)
    if set(record.hosts) != set(wanted):
        raise RefusalError(
            f"The file rolling_state_file is of a maintenance of {', '.join(record.hosts)} that was begun at {record.began_at} and is not done. "
            "Finish it, name another file, or remove this one."
        )
    return record


def finish(record: Record, done: Iterable[str], now: str) -> Record:
    """The record when some more hosts are done."""
    together = tuple(dict.fromkeys([*record.done, *done]))
    ended = now if set(record.hosts) <= set(together) else ""
    return Record(record.hosts, together, record.masters, record.began_at, ended)


# ---- for the tasks ------------------------------------------------------------------------------------------------------


def plan(seen: Result) -> dict[str, Any]:
    """The order, or why there is none.

    Args:
        seen: ``masters``, ``hosts`` (their addresses), ``groups``, ``wanted``, ``serial``, ``min_replicas``, ``state`` (text of the file), ``now``,
            ``maintenance``, ``missing`` (files of tasks that are not there), ``health`` (results of health_info), ``waivers``.
    """
    places = list(seen["hosts"])
    nothing: dict[str, Any] = {"refusal": "", "batches": [], "order": [], "serial": [1], "lines": [], "state": {}}
    try:
        if not seen.get("maintenance"):
            raise RefusalError(
                "Say in rolling_maintenance_tasks what is to be done: restart, reboot, upgrade, or a file of tasks of your own."
            )
        if missing := seen.get("missing"):
            raise RefusalError(f"There is no file {', '.join(missing)}.")
        groups = read_groups(seen["masters"], seen["hosts"])
        wanted = wanted_hosts(seen.get("wanted"), seen.get("groups") or {}, places, groups)
        record = go_on(read_record(str(seen.get("state") or "")), wanted, groups, str(seen["now"]))
        _refuse_unfit(seen)
        left = [host for host in wanted if host not in record.done]
        order = batches(groups, left, max(1, int(seen["serial"])), int(seen["min_replicas"]))
    except RefusalError as refusal:
        return {**nothing, "refusal": f"{refusal} Nothing was done."}
    return {
        **nothing,
        "batches": order,
        "order": [host for batch in order for host in batch],
        "serial": [len(batch) for batch in order] or [1],
        "lines": _plan_lines(groups, order, record),
        "state": record.as_result(),
        "sentinels": sorted({watcher.address for group in groups for watcher in group.watchers}),
    }


def _refuse_unfit(seen: Result) -> None:
    """Hold the checks of every master against the waivers.

    Raises:
        RefusalError: One of them has failed.
    """
    waivers = set(listed(seen.get("waivers")))
    failed = [f"{name}: {text}" for name, text in failed_checks(seen.get("health") or (), waivers)]
    if failed:
        raise RefusalError(f"The deployment is not fit: {'; '.join(failed)}.")


def failed_checks(health: Iterable[Result], waivers: Iterable[str]) -> list[tuple[str, str]]:
    """The checks that have failed: the name of the master, and which, with its detail."""
    waived = set(waivers)
    found = []
    for result in health:
        if result.get("skipped"):
            continue  # nobody wanted the check
        name = str(result.get("item") or "")
        if "checks" not in result:
            found.append((name, str(result.get("msg") or NOT_KNOWN_WHY)))
        for check in result.get("checks") or ():
            if check["status"] == "critical" and check["name"] not in waived:
                found.append((name, f"{check['name']}: {check['detail']}"))
    return found


def _plan_lines(groups: Sequence[Group], order: Sequence[Sequence[str]], record: Record) -> list[str]:
    lines = [f"done before: {', '.join(record.done)}"] if record.done else []
    for number, batch in enumerate(order, 1):
        for host in batch:
            masters = sorted(group.name for group in groups if group.master_on([host]))
            carried = f"leaves {_some(masters)}" if masters else "has no master now"
            lines.append(f"{number:>3}. {host}: {carried}")
    return lines or ["every host is done"]


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def step(seen: Result) -> dict[str, Any]:
    """What to do with the next hosts, and whether to stop.

    Args:
        seen: ``batch``, ``look`` (result of topology_info), ``hosts`` (their addresses), ``state`` (text of the file), ``min_replicas``, ``now``;
            once they have come about ``drain``, ``wait``, ``health``, and in ``hurt`` what tasks failed with, by host and stage.
    """
    batch = [str(host) for host in seen["batch"]]
    found: dict[str, Any] = {
        "refusal": "",
        "leave": [],
        "master_names": [],
        "targets": {},
        "expected": {},
        "touched": [],
        "lines": [],
    }
    look = seen.get("look") or {}
    if "masters" not in look:
        return {**found, "refusal": str(look.get("msg") or NOT_KNOWN_WHY)}
    groups = read_groups(look["masters"], seen["hosts"])
    try:
        record = read_record(str(seen.get("state") or ""))
    except RefusalError as refusal:
        return {**found, "refusal": str(refusal)}
    leaving = [group for group in groups if group.master_on(batch)]
    chosen = targets(groups, batch, record.done)
    back = expected(groups, batch)
    return {
        "refusal": why_not(groups, batch, int(seen["min_replicas"])),
        "leave": sorted({host_part(node.address) for group in groups for node in group.on(batch)}),
        "master_names": [group.name for group in leaving],
        "targets": chosen,
        "expected": back,
        # What the others have to do with these hosts, their Sentinels, has been waited for.
        "touched": [group.name for group in groups if group.on(batch)],
        "lines": [
            f"{', '.join(batch)}: {len(record.done)} of {len(record.hosts)} hosts are done",
            *(f"  {group.name} leaves {group.master}{_to(chosen.get(group.name))}" for group in leaving),
        ],
    }


def _to(target: str | None) -> str:
    return f" for {target}" if target else ""


STAGES = {
    "look": "before anything was done to it",
    "before": "in rolling_before_tasks",
    "drain": "while its masters were moved away",
    "maintenance": "during the maintenance itself",
    "wait": "while waiting for its servers",
    "postcheck": "in the check afterwards",
    "after": "in rolling_after_tasks",
}
"""Where the maintenance of a host can stop, and how that is said."""


def stop(seen: Result) -> dict[str, str]:
    """Where it has stopped and why: ``stage``, ``msg``, ``error``; empty if it has not.

    Args:
        seen: As for ``step``.
    """
    found = [
        ("look", step(seen)["refusal"]),
        ("before", _hurt(seen, "before")),
        ("drain", _left_masters(seen.get("drain"))),
        ("maintenance", _hurt(seen, "maintenance")),
        ("wait", _failure(seen.get("wait"))),
        ("postcheck", "; ".join(f"{name}: {text}" for name, text in failed_checks(*_postcheck(seen)))),
        ("after", _hurt(seen, "after")),
    ]
    return next(({"stage": stage, "msg": text} for stage, text in found if text), {"stage": "", "msg": ""})


def _postcheck(seen: Result) -> tuple[Sequence[Result], Sequence[str]]:
    return (seen.get("health") or {}).get("results") or (), listed(seen.get("waivers"))


def _hurt(seen: Result, stage: str) -> str:
    """What the tasks of a stage failed with, host by host."""
    found = ((host, (of_host or {}).get(stage)) for host, of_host in (seen.get("hurt") or {}).items())
    return "; ".join(f"{host}: {text}" for host, text in found if text)


def _failure(result: Any) -> str:
    told = result if isinstance(result, Mapping) else {}
    return str(told.get("msg") or NOT_KNOWN_WHY) if told.get("failed") or told.get("error") else ""


def _left_masters(drain: Any) -> str:
    """Which masters could not be moved, and why."""
    told = drain if isinstance(drain, Mapping) else {}
    left = [
        f"{row['name']}: {row['outcome']}: {row['msg']}"
        for row in told.get("masters") or ()
        if row.get("outcome") not in ("switched", "unchanged", "planned")
    ]
    return "; ".join(left) or _failure(told)


def conclude(seen: Result) -> dict[str, Any]:
    """The record afterwards, and what is said if it has stopped.

    Args:
        seen: As for ``step``.
    """
    try:
        record = read_record(str(seen.get("state") or ""))
    except RefusalError as refusal:
        return {"state": {}, "done": [], "left": [], "stage": "look", "msg": str(refusal)}
    where = stop(seen)
    batch = [str(host) for host in seen["batch"]]
    after = record if where["stage"] else finish(record, batch, str(seen["now"]))
    left = [host for host in after.hosts if host not in after.done]
    message = ""
    if where["stage"]:
        message = (
            f"Stopped at {', '.join(batch)}, {STAGES[where['stage']]}: {where['msg'].rstrip('.')}. "
            f"Done: {', '.join(after.done) or 'none'}. Left: {', '.join(left)}. "
            "Mend what is named and run again: the run goes on here."
        )
    return {"state": after.as_result(), "done": list(after.done), "left": left, "stage": where["stage"], "msg": message}


def course(seen: Result) -> dict[str, Any]:
    """Everything that the tasks of a host need to know, from everything that was seen."""
    return {"step": step(seen), "stop": stop(seen), "end": conclude(seen)}


def maintenance_file(asked: str) -> str:
    """The file of tasks to include: one of the role's own, or the operator's."""
    return f"maintenance_{asked}.yml" if asked in READY_MADE else asked


def end(state: str) -> dict[str, Any]:
    """What is handed on when every host is done.

    Args:
        state: Text of the state file.
    """
    return read_record(state).as_result()


# ---- giving back --------------------------------------------------------------------------------------------------------


def way_back(seen: Result) -> dict[str, Any]:
    """Which masters are not where they are to be, and what to ask of ``drain`` for that.

    Each host that masters leave is drained by itself: another master may have to go there.

    Args:
        seen: ``targets`` (name -> ``host:port``), ``state`` (text of a state file, where there are no targets), ``masters`` of topology_info.
    """
    nothing: dict[str, Any] = {"refusal": "", "drains": [], "lines": []}
    wanted = dict(seen.get("targets") or {})
    masters = seen.get("masters") or {}
    try:
        wanted = wanted or dict(read_record(str(seen.get("state") or "")).masters)
        if not wanted:
            raise RefusalError(
                "Say in move_back_targets where each master is to be, or in move_back_state_file which file tells it."
            )
        for name, address in wanted.items():
            _refuse_unknown_target(name, str(address), masters)
    except RefusalError as refusal:
        return {**nothing, "refusal": f"{refusal} Nothing was done."}
    away = {name: str(target) for name, target in wanted.items() if masters[name]["master"] != target}
    left_by: dict[str, dict[str, str]] = {}
    for name, target in sorted(away.items()):
        left_by.setdefault(host_part(str(masters[name]["master"])), {})[name] = target
    return {
        "refusal": "",
        "drains": [{"host": host, "targets": targets} for host, targets in sorted(left_by.items())],
        "lines": [f"{name}: {masters[name]['master']} to {target}" for name, target in sorted(away.items())]
        or ["every master is where it is to be"],
    }


def _refuse_unknown_target(name: str, address: str, masters: Mapping[str, Result]) -> None:
    """See that a master, and the place where it is to be, are known.

    Raises:
        RefusalError: They are not.
    """
    if name not in masters:
        raise RefusalError(f"No Sentinel knows a master {name}.")
    if not masters[name].get("master"):
        raise RefusalError(f"The Sentinels do not name one master of {name}.")
    if address not in {row["address"] for row in masters[name].get("nodes") or ()}:
        raise RefusalError(f"{name} has no node {address}.")
