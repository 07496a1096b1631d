# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything before writes stop: ask, decide, lock, repair, raise priorities, and look once more.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import (
    FAST_ANSWER_S,
    Look,
    applied,
    look,
    replication,
    rewrite,
    sentinels_missing,
    wait_applied,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    failed_logins,
    sentinel_objections,
    sentinels_wanted,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import PROBED_COMMANDS, is_asked
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._decide import decide
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    AbortedError,
    LinkError,
    RefusedError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._leftovers import news_under_way
from ansible_collections.redis_ha.sentinel.plugins.module_utils._logins import try_logins
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import JOIN, MOVE, Plan, Repair, Steering, refuse
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    ClientRow,
    ReplicaEntry,
    parse_client_list,
    parse_replica_entries,
    parse_role,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import FENCED, PLAIN, understood
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    DISCOVER,
    EVENTS_LOST,
    LOCK,
    PLAN,
    PRIORITY_RAISED,
    PRIORITY_RESTORED,
    PROBE,
    RECHECK,
    REPAIR,
    REPAIRED,
    STEER,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot

LOCK_NAME = "redis_ha.sentinel:failover"
"""The name of our connection to the old master, by which two runs see each other in CLIENT LIST."""

NEWS_WAIT_S = 5.0
"""Sentinels tell each other who the master is every two seconds; one that has just been started has to connect before."""
NEWS_POLL_S = 0.25
STEERING_WAIT_S = 32.0
"""Three INFO periods of Sentinel (10 s each, and its ticks)."""
STEERING_POLL_S = 0.04


def prepare(run: Run, listen: bool) -> Plan:
    """Ask everybody, and decide.

    Args:
        run: The run; gets its snapshot.
        listen: Also subscribe to the events of the Sentinels.

    Raises:
        RefusedError: Something speaks against it; every reason is named.
    """
    request = run.request
    run.record.understood = understood(request)
    with run.step(DISCOVER):
        run.snapshot = _snapshot_of_all_who_know(run)
        run.record.old_master = run.snapshot.master_address
        run.record.server_versions = {
            str(node.address): f"{node.product} {node.dotted_version}" for node in run.snapshot.nodes if node.reachable
        }
        if listen and run.deaf is None:
            run.deaf = _listen(run)
    with run.step(PLAN):
        plan = decide(run.snapshot, request, run.deaf or ())
        if plan.action == MOVE and plan.strategy != PLAIN:
            _check_logins(run, plan)
    record = run.record
    record.plan, record.strategy = plan, plan.strategy
    record.promotion, record.promotion_reason = plan.promotion or None, plan.promotion_reason
    record.old_master, record.new_master = plan.old_master, plan.new_master
    record.notes += plan.notes
    return plan


def _snapshot_of_all_who_know(run: Run) -> Snapshot:
    """What everybody says, once every Sentinel has heard of the master that the caller expects; one that was away hears of it within two seconds."""
    snapshot = run.shared.snapshot or ask_everybody(run)
    deadline_s = run.clock.now_s() + NEWS_WAIT_S
    wait = Wait(run)
    while (news := news_under_way(snapshot)) and snapshot.same(run.request.expected_master, news.promoted):
        run.stop_if_requested()
        if run.clock.now_s() >= deadline_s:
            break
        wait.tell(lambda: "not every Sentinel has heard of the master yet")
        run.clock.sleep(NEWS_POLL_S)
        snapshot = ask_everybody(run)
    return snapshot


def ask_everybody(run: Run) -> Snapshot:
    """What everybody says now."""
    request = run.request
    also = [address for address in (request.target, request.expected_master) if address is not None]
    return take_snapshot(run.fleet, request.master_name, PROBED_COMMANDS, also, request.avoid)


def _listen(run: Run) -> tuple[Address, ...]:
    """Subscribe to the events of every Sentinel; those that send us none."""
    deaf = []
    listen = run.shared.listen or run.fleet.listen
    for address in run.sentinels:
        try:
            listen(address, run.timeline.add_event)
        except LinkError as error:
            deaf.append(address)
            run.timeline.add(EVENTS_LOST, address, error.message)
            run.note(f"{error}; the run goes on without its events")
    return tuple(deaf)


def _check_logins(run: Run, plan: Plan) -> None:
    logins = try_logins(run.fleet, (plan.old_master, *plan.siblings), [plan.replica_to_promote])
    if failed := failed_logins(run.snapshot, logins):
        raise refuse(failed)


# ---- lock and repair -------------------------------------------------------------------------------------------------


def lock(run: Run, plan: Plan) -> None:
    """Keep other runs of this program away from the old master.

    Raises:
        RefusedError: Another run came first, or the node cannot be asked.
    """
    with run.step(LOCK):
        client = run.fleet.lock(plan.old_master)
        try:
            client.set_name(LOCK_NAME)
            rows = _check_lock(run, client)
        except (LinkError, ReplyError) as error:
            raise failure("node_unreachable", str(error)) from error
        if plan.action != JOIN:
            _note_pause(run, plan.old_master, rows)


def _note_pause(run: Run, master: Address, rows: Sequence[ClientRow]) -> None:
    """Somebody else's pause of writes ends with the demotion, which its owner should know.

    It holds what Sentinel publishes every two seconds; newer servers tell it by themselves.
    """
    node = run.snapshot.node(master)
    told = node.info.get("paused_actions", "none") if node is not None else "none"
    if told != "none" or any("b" in row.flags and row.command == "publish" for row in rows):
        run.note(f"a pause that this run did not ask for holds writes on {master}; the move ends it")


def _check_lock(run: Run, client: Client) -> tuple[ClientRow, ...]:
    # A connection that was lost and made anew carries the name again, and another id.
    own = int(client.ask("CLIENT", "ID"))
    rows = parse_client_list(client.ask("CLIENT", "LIST"))
    others = sorted((row for row in rows if row.name == LOCK_NAME and row.id < own), key=lambda row: row.id)
    if others:
        raise failure(
            "another_run",
            f"another run of this program is moving {run.request.master_name}: its connection to {client.address}"
            f" comes from {others[0].address} and is {others[0].age_s} s old",
            connection=others[0].id,
        )
    return rows


def lock_new_master(run: Run, master: Address) -> None:
    """Keep other runs away from the new master, too, until this one has ended: what it still holds is not what an interrupted run left."""
    if not is_asked(run.snapshot, master):
        return
    try:
        run.fleet.lock(master).set_name(LOCK_NAME)
    except (LinkError, ReplyError) as error:
        run.note(f"a second run is not kept away from {master} ({error.message})")


def repair(run: Run, repairs: Sequence[Repair]) -> None:
    """Put back what an interrupted run left.

    Raises:
        RefusedError, IncompleteError: A node does not take it, or somebody has moved the master since.
    """
    if not repairs:
        return
    with run.step(REPAIR):
        for it in repairs:
            client = run.fleet.node(it.address)
            try:
                if it.follow is not None:
                    _refuse_if_moved(run, it.address, it.follow)
                    client.order("REPLICAOF", it.follow.host, it.follow.port)
                else:
                    client.transact(*(("CONFIG", "SET", name, value) for name, value in it.settings))
                rewrite(run, client)
            except (LinkError, ReplyError) as error:
                raise failure(
                    "repair_left" if run.record.moved else "repair_failed", f"{it}: {error.message}"
                ) from error
            run.record.repaired.append(str(it))
            run.timeline.add(REPAIRED, it.address, str(it))


def _refuse_if_moved(run: Run, replica: Address, master: Address) -> None:
    """A drain may have asked everybody a while ago: a replica that was promoted since would lose what it has acknowledged.

    Raises:
        RefusedError: They are no longer a replica and a master.
        LinkError, ReplyError: One of them cannot be asked.
    """
    roles = {address: parse_role(run.fleet.node(address).ask("ROLE")) for address in (replica, master)}
    if roles[replica].is_master:
        raise failure("master_changed", f"{replica} has become a master")
    if not roles[master].is_master:
        raise failure("master_changed", f"{master} is no longer a master")


# ---- priorities ------------------------------------------------------------------------------------------------------


@contextmanager
def raised_priorities(run: Run) -> Iterator[Raised]:
    """Priorities may be raised in here. They are put back at the end, unless Sentinel may still have to choose by them.

    It may where the demotion stands and nobody is promoted: the run ends in doubt then, and the next one puts them back. Where the master was
    moved, the end of the run puts them back itself, before it waits for the replicas; here, if it does not come so far.
    """
    raised = Raised(run)
    try:
        yield raised
    except (RefusedError, AbortedError):
        raised.lower()
        raised.rewrite()
        raise
    except BaseException:
        if run.record.moved:
            raised.lower()
            raised.rewrite()
        else:
            raised.leave()
        raise


class Raised:
    """Replicas whose ``replica-priority`` number this run has raised, so that Sentinel does not choose them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._raised: list[Steering] = []
        self._lowered: list[Address] = []

    def raise_all(self, steering: Sequence[Steering]) -> None:
        """Raise them.

        Raises:
            RefusedError: A node does not take it.
        """
        for steer in steering:
            self._raised.append(steer)
            try:
                self._run.fleet.node(steer.address).order("CONFIG", "SET", "replica-priority", steer.raised)
            except (LinkError, ReplyError) as error:
                if isinstance(error, ReplyError):
                    self._raised.remove(steer)  # It has said that it is not raised.
                raise failure(
                    "steering_failed", f"{steer.address}: its replica-priority could not be raised: {error.message}"
                ) from error
            self._run.timeline.add(PRIORITY_RAISED, steer.address, f"replica-priority {steer.raised}")

    def lower(self) -> None:
        """Put them back. The files are for :meth:`rewrite`, once Sentinel has reconfigured the nodes and rewritten them, too."""
        raised, self._raised = self._raised, []
        for steer in raised:
            try:
                self._run.fleet.node(steer.address).ask("CONFIG", "SET", "replica-priority", steer.priority)
            except (LinkError, ReplyError) as error:
                self._run.record.altered = True
                self._run.left_or_noted(
                    f"{steer.address}: set replica-priority back to {steer.priority} ({error.message}); the next run does it"
                )
                continue
            self._lowered.append(steer.address)
            self._run.timeline.add(PRIORITY_RESTORED, steer.address, f"replica-priority {steer.priority}")

    def rewrite(self) -> None:
        """Write the files of those that were put back."""
        lowered, self._lowered = self._lowered, []
        for address in lowered:
            try:
                rewrite(self._run, self._run.fleet.node(address))
            except LinkError as error:
                self._run.left_or_noted(
                    f"{address}: CONFIG REWRITE ({error.message}); its file may have the raised replica-priority"
                )

    def leave(self) -> None:
        """Leave them as they are, and say so."""
        if self._raised:
            raised = ", ".join(str(steer.address) for steer in self._raised)
            self._run.note(
                f"replica-priority of {raised} stays raised, so that Sentinel chooses {self._run.record.new_master}; the next run puts it back"
            )


def steer(run: Run, plan: Plan, raised: Raised) -> tuple[Address, ...]:
    """Raise the priorities that the plan names, and wait until Sentinels show them.

    Returns:
        The Sentinels that may lead: those of the plan that show the replica to promote up and preferred.

    Raises:
        RefusedError: No Sentinel shows it in time.
    """
    if not plan.steering and plan.strategy != FENCED:
        return plan.leaders
    everywhere = bool(plan.lagging)
    if not plan.steering and (fit := _fit_leaders(run, plan, everywhere)):
        return fit
    with run.step(STEER):
        raised.raise_all(plan.steering)
        deadline_s = run.clock.now_s() + STEERING_WAIT_S
        wait = Wait(run)
        while True:
            run.stop_if_requested()
            if fit := _fit_leaders(run, plan, everywhere):
                return fit
            if run.clock.now_s() >= deadline_s:
                raise failure(
                    "steering_not_shown",
                    f"no Sentinel showed within {STEERING_WAIT_S:g} s that {plan.replica_to_promote} is up and preferred to "
                    + (", ".join(map(str, (*plan.siblings, *plan.lagging))) or "no other"),
                )
            wait.tell(lambda: f"no Sentinel shows yet that {plan.replica_to_promote} is up and preferred")
            run.clock.sleep(STEERING_POLL_S)


def _fit_leaders(run: Run, plan: Plan, everywhere: bool) -> tuple[Address, ...]:
    """Those that could lead and would choose well; none, if every Sentinel should and one does not."""
    showing = _showing(run, plan, run.sentinels if everywhere else plan.leaders)
    if everywhere and len(showing) < len(run.sentinels):
        return ()
    return tuple(leader for leader in plan.leaders if leader in showing)


def _showing(run: Run, plan: Plan, sentinels: Collection[Address]) -> set[Address]:
    """Sentinels that would choose the replica to promote, or another one that will do."""
    answers = run.fleet.gather(
        sentinels,
        lambda address: parse_replica_entries(
            run.fleet.sentinel(address).ask("SENTINEL", "REPLICAS", run.request.master_name)
        ),
    )
    return {
        address
        for address, entries in answers.items()
        if isinstance(entries, tuple) and chooses_well(run, plan, address, entries)
    }


def chooses_well(run: Run, plan: Plan, sentinel: Address, entries: tuple[ReplicaEntry, ...]) -> bool:
    """Whether a Sentinel that shows these replicas would choose one that will do: the one to promote, or any other candidate, if the plan does not mind."""
    snapshot = run.snapshot
    candidate = next((entry for entry in entries if snapshot.same(entry.address, plan.new_master)), None)
    if candidate is None or candidate.down:
        return False
    good = (plan.replica_to_promote, *(plan.siblings if plan.any_candidate else ()))
    return not any(
        entry.priority <= candidate.priority
        and not any(snapshot.same(entry.address, address) for address in good)
        # Also one that was down when the run began, and has come back.
        and not sentinel_objections(sentinel, entry, snapshot.down_after_ms)
        for entry in entries
    )


# ---- right before writes stop ----------------------------------------------------------------------------------------


def probe(run: Run, plan: Plan) -> Plan:
    """The replica to promote must reach the offset that the master has now; a sibling that does not is not waited for under the fence.

    Raises:
        RefusedError: It does not, or the master cannot be asked, or is none any more.
    """
    with run.step(PROBE):
        try:
            master = replication(run, plan.old_master)
        except (LinkError, ReplyError) as error:
            raise failure("node_unreachable", str(error)) from error
        if not master.is_master:
            raise failure("master_changed", f"{plan.old_master} is no longer a master")
        wanted = master.position
        deadline_s = run.clock.now_s() + run.request.catch_up_timeout_s
        behind = wait_applied(run, (plan.replica_to_promote, *plan.siblings), wanted, deadline_s)
        if plan.replica_to_promote in behind:
            raise failure(
                "target_lagging",
                f"{plan.replica_to_promote} did not reach the master's offset {wanted} within "
                f"{run.request.catch_up_timeout_s:g} s ({behind[plan.replica_to_promote]}) while writes went on",
                {
                    "wanted_offset": wanted.offset,
                    "behind": {str(address): text for address, text in behind.items()},
                },
            )
        for address, text in behind.items():
            run.note(f"{address} lags and is not waited for ({text})")
        return without(plan, behind)


def without(plan: Plan, lagging: Collection[Address]) -> Plan:
    """The plan, with siblings that are not waited for. Sentinel must not choose them: it is steered away from them."""
    priorities = dict(plan.priorities)
    raised = {it.address for it in plan.steering}
    more = tuple(
        Steering(address, priorities[address])
        for address in plan.siblings
        if address in lagging
        and address not in raised
        and 0 < priorities[address] <= priorities[plan.replica_to_promote]
    )
    return replace(
        plan,
        siblings=tuple(address for address in plan.siblings if address not in lagging),
        lagging=(*plan.lagging, *(address for address in plan.siblings if address in lagging)),
        steering=(*plan.steering, *more),
    )


def recheck(run: Run, plan: Plan, leader: Address) -> Look:
    """Once more, right before writes stop: the master is a master, every candidate and the leader answer, no TILT, no failover, no other run.

    Returns:
        What the Sentinels said.

    Raises:
        RefusedError: Something has changed.
    """
    with run.step(RECHECK):
        run.stop_if_requested()
        _refuse_if_late(run)
        client = run.fleet.node(plan.old_master)
        try:
            _check_lock(run, run.fleet.lock(plan.old_master))
            role = parse_role(client.ask("ROLE"))
            _ask_candidates(run, plan)
        except (LinkError, ReplyError) as error:
            raise failure("node_unreachable", str(error)) from error
        if not role.is_master:
            raise failure("master_changed", f"{plan.old_master} is no longer a master")
        return refuse_if_disturbed(run, plan, leader)


def _ask_candidates(run: Run, plan: Plan) -> None:
    """Who does not answer now would hold up writes for nothing."""
    answers = applied(run, (plan.replica_to_promote, *plan.siblings), FAST_ANSWER_S)
    for answer in answers.values():
        if isinstance(answer, (LinkError, ReplyError)):
            raise answer


def _refuse_if_late(run: Run) -> None:
    latest_s = run.request.not_after_s
    if latest_s is not None and run.clock.wall_s() > latest_s:
        raise failure("too_late", f"it is past not_after ({run.request.not_after})")


def refuse_if_disturbed(run: Run, plan: Plan, leader: Address) -> Look:
    """The Sentinels answer, as many as must, and nothing goes on that would meet ours.

    Raises:
        RefusedError: Something does.
    """
    seen = look(run, tilt=True)
    if seen.silent:
        seen = look(run, tilt=True)
    wanted = sentinels_wanted(run.snapshot, run.request.min_sentinels)
    if leader in seen.silent or len(seen.said) < wanted:
        raise sentinels_missing(seen)
    for address, said in seen.said.items():
        if said.tilt:
            raise failure("tilt", f"Sentinel {address} has gone into TILT")
        if said.entry.failover_in_progress:
            raise failure("failover_started", f"Sentinel {address} has begun a failover of its own")
        if not run.snapshot.same(said.entry.address, plan.old_master):
            raise failure("master_changed", f"Sentinel {address} now names {said.entry.address}")
    return seen
