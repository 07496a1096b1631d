# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries a plan out, phase by phase.

One rule: the old master stops being a master before the new one becomes one. Clients, clock and timeline are handed in.
This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._alignment import (
    BLIND_AGE_S,
    LATEST_BLIND_AGE_S,
    LATEST_TICK_AGE_S,
    MISSED,
    TAKE,
    TickForecast,
    verdict,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    failed_logins,
    sentinel_objections,
    sentinels_wanted,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client, Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    Aborted,
    FailoverError,
    Incomplete,
    LinkError,
    Refused,
    ReplyError,
    Unknown,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._fence import Fence
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import (
    COORDINATED,
    FENCED,
    FINISH,
    JOIN,
    MIN_REPLICAS_FENCE,
    MOVE,
    NOTHING,
    PLAIN,
    PROBED_COMMANDS,
    REPAIR,
    Plan,
    Request,
    decide,
    refuse,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._probes import try_logins
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    MasterEntry,
    Position,
    Replication,
    Role,
    parse_client_list,
    parse_info,
    parse_master_entry,
    parse_replica_entries,
    parse_replication,
    parse_role,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Timeline
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import (
    NodeView,
    Snapshot,
    named_connections,
    take_snapshot,
)

LOCK_NAME = "redis_ha.sentinel:failover"
"""The name of our connection to the old master, by which two runs see each other in CLIENT LIST."""

ALIGN_WAIT_S = 32.0
"""Three INFO periods of Sentinel (10 s each, and its ticks)."""
ALIGN_POLL_S = 0.04
ALIGN_ATTEMPTS = 4
"""How many moments are waited for; the last one is taken without looking at the ticks."""
RECHECK_AGE_S = 0.62
WATCH_AGE_S = 0.69
"""One tick at least is seen between here and the first that can be taken."""
TICK_POLL_S = 0.001
SLOWEST_TICK_WATCH_S = 0.01
"""A Sentinel that takes longer to answer cannot be watched closely enough."""
FENCE_ROUND_TRIPS = 4
"""Between the fence and the trigger: a transaction, at least one look at the replicas, a transaction, one more look."""
FENCE_WORK_S = 0.003
ROUND_TRIP_LOOKS = 5
TRIGGER_MARGIN_S = 0.003
"""Triggered behind the tick, the leader would look too early and lose a second."""
MOST_JITTER_S = 0.025
"""How much earlier, at most, a busy host has the fence raised: by as much as its slowest look at the ticks took."""

FAST_POLL_S = 0.002
PROMOTION_POLL_S = 0.004
FAST_ANSWER_S = 0.25
"""How long an answer may take while writes wait."""
SETTLE_POLL_S = 0.05
LEADER_SILENCE_S = 3.0
"""A leader that is alive orders the promotion within 0.3 s; one that is silent for ten times as long is dead or cut off."""
LATE_BYTES_WAIT_S = 0.05
RELEASE_POLL_S = 0.003
MOST_RELEASE_WAIT_S = 0.06
"""How long, at most, the connections of OM are left open once every Sentinel names R.

A client that asked a Sentinel right before that moment is on its way to OM with a write, on a new connection. It must have
its -READONLY before that is closed, or it cannot know what became of the write.
"""
NEW_CONNECTION_AGE_S = 1
DEAD_SERVER_WAIT_S = 5.0
"""A server that cannot be asked any more is not waited for as long as one that has something left to do."""
COORDINATED_TIMEOUT_MS = 10_000
"""COORDINATED pauses writes for as long as failover-timeout if the replica does not answer: lowered for the time of the failover."""


@dataclass
class Progress:
    """What is known of a run while it goes on; the result is made of it."""

    phase: str = "discover"
    strategy: str = ""
    old_master: Address | None = None
    new_master: Address | None = None
    leader: Address | None = None
    to_lead: Address | None = None
    plan: Plan | None = None
    triggered_at_s: float = 0.0
    fenced_at_s: float | None = None
    promoted_at_s: float | None = None
    write_gap_ms: float | None = None
    agree_ms: float | None = None
    moved: bool = False
    repaired: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    lossless: bool = False
    lossless_reason: str = "nothing was moved"
    phases_ms: dict[str, float] = field(default_factory=dict)
    replicas: list[dict[str, Any]] = field(default_factory=list)


class Failover:
    """One run.

    Args:
        fleet: The clients.
        request: What the caller asks for.
        clock: Time.
        timeline: Where happenings are put down.
        stop_requested: Whether the user wants the run to end; looked at until the fence goes up.
    """

    def __init__(
        self,
        fleet: Fleet,
        request: Request,
        clock: Clock,
        timeline: Timeline,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        self._fleet = fleet
        self._request = request
        self._clock = clock
        self._timeline = timeline
        self._stop_requested = stop_requested
        self._snapshot = Snapshot(request.master_name, (), ())
        self._raised: list[Address] = []
        self._demotion_stands = False
        self._rewritten: tuple[Address, ...] = ()
        self._new_master_epoch = 0
        self._told: set[Address] = set()
        self.progress = Progress()

    # ---- the run -------------------------------------------------------------------------------------------------

    def run(self, check_mode: bool = False) -> dict[str, Any]:
        """Do it, or in check mode only plan it; the result as the module returns it."""
        try:
            plan = self._prepare(listen=not check_mode)
            if check_mode:
                would_change = plan.action not in (NOTHING,) or bool(plan.repairs)
                return self._result("planned" if would_change else "unchanged", would_change)
            return self._carry_out(plan)
        except FailoverError as error:
            return self._failed(error)
        except (LinkError, ReplyError) as error:
            remedy = "Look at this server, and at the deployment with topology_info, and run again."
            if self.progress.fenced_at_s is None and not self.progress.moved:
                return self._failed(Refused("contact_lost", str(error), remedy, self.progress.phase))
            return self._failed(Unknown("contact_lost", str(error), remedy, self.progress.phase))

    def _prepare(self, listen: bool) -> Plan:
        request = self._request
        with self._phase("discover"):
            also = [address for address in (request.target, request.expected_master) if address is not None]
            self._snapshot = take_snapshot(self._fleet, request.master_name, PROBED_COMMANDS, also, request.avoid)
            self.progress.old_master = self._snapshot.master_address
            if listen:
                self._listen()
        with self._phase("plan"):
            plan = decide(self._snapshot, request)
            if plan.action == MOVE and plan.strategy != PLAIN:
                self._check_logins(plan)
        self.progress.plan = plan
        self.progress.strategy = plan.strategy
        self.progress.old_master = plan.old_master
        self.progress.new_master = plan.new_master
        self.progress.notes += plan.notes
        return plan

    def _check_logins(self, plan: Plan) -> None:
        logins = try_logins(self._fleet, (plan.old_master, *plan.siblings), [plan.replica_to_promote])
        if failed := failed_logins(self._snapshot, logins):
            raise refuse(failed)

    def _listen(self) -> None:
        for view in self._snapshot.informed_sentinels:
            try:
                self._fleet.listen(view.address, self._timeline.add_event)
            except LinkError as error:
                self.progress.notes.append(f"{error}; the run goes on without its events")

    def _carry_out(self, plan: Plan) -> dict[str, Any]:
        if plan.action == JOIN:
            return self._join(plan)
        if (
            plan.master_reachable
            and (plan.action in (MOVE, FINISH, REPAIR) or plan.repairs)
            and self._snapshot_node(plan.old_master)
        ):
            self._lock(plan)
        if plan.action != FINISH:
            # The steering of the run that is finished has to stand until Sentinel has chosen.
            self._repair(plan)
        if plan.action in (NOTHING, REPAIR):
            self.progress.new_master = plan.old_master
            if self.progress.left:
                return self._left_to_do()
            return self._result("unchanged", bool(self.progress.repaired))
        try:
            if plan.action == FINISH:
                self._finish(plan)
            elif plan.strategy == FENCED:
                self._fenced(plan)
            elif plan.strategy == COORDINATED:
                self._coordinated(plan)
            else:
                self._plain(plan)
        finally:
            if not self.progress.moved and not self._demotion_stands:
                self._lower_priorities()
                if self.progress.triggered_at_s:
                    self._rewrite_lowered()
            elif not self.progress.moved and self._raised:
                raised = ", ".join(map(str, self._raised))
                self.progress.notes.append(
                    f"replica-priority of {raised} stays raised, so that Sentinel chooses {plan.new_master}; the next run puts it back"
                )
        return self._settled_result(plan)

    # ---- lock and repair -----------------------------------------------------------------------------------------

    def _lock(self, plan: Plan) -> None:
        with self._phase("lock"):
            lock = self._fleet.lock(plan.old_master)
            try:
                lock.set_name(LOCK_NAME)
                self._check_lock(lock)
            except (LinkError, ReplyError) as error:
                raise Refused(
                    "node_unreachable", f"{error}", "Look at this node and run again.", self.progress.phase
                ) from error

    def _check_lock(self, lock: Client) -> None:
        # A connection that was lost and made anew carries the name again, and another id.
        own = int(lock.ask("CLIENT", "ID"))
        others = [row for row in named_connections(lock, LOCK_NAME) if row.id < own]
        if others:
            raise Refused(
                "another_run",
                f"another run of this program is moving {self._request.master_name}: its connection to {lock.address}"
                f" comes from {others[0].address} and is {others[0].age_s} s old",
                "Wait until it has ended, and look with topology_info before you run again. If the host that it comes from is lost for good, the master ends"
                f" the connection itself (tcp-keepalive, 300 s unless set); CLIENT KILL ID {others[0].id} on the master does at once.",
                self.progress.phase,
            )

    def _repair(self, plan: Plan) -> None:
        if not plan.repairs:
            return
        with self._phase("repair"):
            for repair in plan.repairs:
                client = self._fleet.node(repair.address)
                try:
                    client.transact(*(("CONFIG", "SET", name, value) for name, value in repair.settings))
                    self._rewrite(client)
                except (LinkError, ReplyError) as error:
                    text = f"{repair}: {error.message}"
                    remedy = "Set it by hand, or run again when the node can be asked."
                    if self.progress.moved:
                        raise Incomplete("repair_failed", text, remedy, self.progress.phase) from error
                    raise Refused("repair_failed", text, remedy, self.progress.phase) from error
                self.progress.repaired.append(str(repair))
                self._timeline.add("repaired", str(repair))

    # ---- fenced --------------------------------------------------------------------------------------------------

    def _fenced(self, plan: Plan) -> None:
        self._steer(plan)
        plan = self._probe(plan)
        leader = self._stop_writes_and_demote(plan)
        self._trigger_and_promote(plan, leader)
        self._agree(plan)
        self._release(plan)

    def _stop_writes_and_demote(self, plan: Plan) -> Address:
        """Fence OM and make it a replica of R, at the right moment for the leader that is returned."""
        for attempts_left in reversed(range(ALIGN_ATTEMPTS)):
            leader, info_at_s = self._align(plan)
            self.progress.to_lead = leader
            round_trip_s = self._recheck(plan, leader, info_at_s)
            plan = self._without_silent_siblings(plan)
            latest_s = self._await_moment(leader, info_at_s, round_trip_s, watch_ticks=attempts_left > 0)
            if latest_s is None:
                self._timeline.add(
                    "moment missed", f"no tick of Sentinel {leader} fell into place; the next one is waited for"
                )
                continue
            fence = Fence(self._fleet.node(plan.old_master), plan, self._clock)
            try:
                self._fence(fence)
                self._catch_up(plan, fence)
                if attempts_left and self._clock.now_s() > latest_s - max(2 * round_trip_s, fence.took_s):
                    self._lift(fence)
                    self._timeline.add(
                        "moment missed",
                        "the replicas took too long to catch up; writes go on, and the next one is waited for",
                    )
                    continue
                if self._demote(plan, fence):
                    return leader
            except BaseException:
                fence.lift_if_up()
                raise
        raise Aborted(
            "late_writes",
            f"{plan.old_master} had acknowledged more than {plan.replica_to_promote} had received, again and again; it is the master",
            "The fence did not hold: look for long pauses of this host, raise down-after-milliseconds, or run again at a quieter time.",
            "demote",
        )

    def _steer(self, plan: Plan) -> None:
        if not plan.steering:
            return
        with self._phase("steer"):
            for steer in plan.steering:
                try:
                    self._raised.append(steer.address)
                    self._fleet.node(steer.address).order("CONFIG", "SET", "replica-priority", steer.raised)
                except (LinkError, ReplyError) as error:
                    raise Refused(
                        "steering_failed",
                        f"{steer.address}: its replica-priority could not be raised: {error.message}",
                        "Look at this node and run again.",
                        "steer",
                    ) from error
                self._timeline.add("steered", f"{steer.address}: replica-priority {steer.raised}")

    def _probe(self, plan: Plan) -> Plan:
        """R must reach the offset that OM has now; a sibling that does not is not waited for under the fence."""
        with self._phase("probe"):
            try:
                wanted = self._replication(plan.old_master).position
            except (LinkError, ReplyError) as error:
                raise Refused("node_unreachable", f"{error}", "Look at this node and run again.", "probe") from error
            deadline_s = self._clock.now_s() + self._request.catch_up_timeout_s
            behind = self._wait_applied((plan.replica_to_promote, *plan.siblings), wanted, deadline_s)
            if plan.replica_to_promote in behind:
                raise Refused(
                    "target_lagging",
                    f"{plan.replica_to_promote} did not reach the master's offset {wanted} within "
                    f"{self._request.catch_up_timeout_s:g} s ({behind[plan.replica_to_promote]}) "
                    "while writes went on",
                    "Wait until it has caught up, or raise catch_up_timeout: writes would stand still as long.",
                    "probe",
                    {
                        "wanted_offset": wanted.offset,
                        "behind": {str(address): text for address, text in behind.items()},
                    },
                )
            for address, text in behind.items():
                self.progress.notes.append(f"{address} lags and is not waited for ({text})")
            return replace(
                plan,
                siblings=tuple(address for address in plan.siblings if address not in behind),
                lagging=(*plan.lagging, *(address for address in plan.siblings if address in behind)),
            )

    def _wait_applied(
        self, addresses: Sequence[Address], wanted: Position, deadline_s: float, tick: Callable[[], None] | None = None
    ) -> dict[Address, str]:
        """Wait until every node has applied ``wanted``; those that did not by the deadline, and what is known of them."""
        behind = dict.fromkeys(addresses, "not asked")
        while behind:
            left_s = deadline_s - self._clock.now_s()
            if left_s <= 0:
                break
            if tick is not None:
                tick()
            answers = self._applied_offsets(tuple(behind), left_s)
            for address, answer in answers.items():
                if isinstance(answer, (LinkError, ReplyError)):
                    behind[address] = answer.message
                elif answer.has_applied(wanted):
                    del behind[address]
                elif answer.replid != wanted.replid:
                    behind[address] = (
                        "it follows another history of writes: its master has restarted, or is another one"
                    )
                else:
                    behind[address] = (
                        f"applied {answer.applied_offset} of {wanted}, link {'up' if answer.link_up else 'down'}"
                    )
            if behind:
                self._clock.sleep(FAST_POLL_S)
        return behind

    def _applied_offsets(
        self, addresses: Sequence[Address], left_s: float
    ) -> dict[Address, Replication | LinkError | ReplyError]:
        return self._fleet.gather(
            addresses, lambda address: self._replication(address, timeout_s=min(left_s, FAST_ANSWER_S))
        )

    def _align(self, plan: Plan) -> tuple[Address, float | None]:
        """Wait until a leader shows the steering and has looked at R a moment ago.

        Returns:
            The leader, and the moment of its last INFO of R; ``None`` where it is not aligned.
        """
        with self._phase("align"):
            deadline_s = self._clock.now_s() + ALIGN_WAIT_S
            ready: list[Address] = []
            while self._clock.now_s() < deadline_s:
                self._stop_if_requested()
                ages = self._info_ages(plan)
                ready = [leader for leader in plan.preferred_leaders if leader in ages]
                if plan.lagging and any(view.address not in ages for view in self._snapshot.informed_sentinels):
                    ready = []
                if ready and not plan.align:
                    return ready[0], None
                coming = [ages[leader] for leader in ready if self._clock.now_s() < ages[leader] + RECHECK_AGE_S]
                if coming:
                    return next(
                        (leader, at_s) for leader, at_s in ages.items() if leader in ready and at_s == min(coming)
                    )
                self._clock.sleep(ALIGN_POLL_S)
            if not ready:
                raise Refused(
                    "steering_not_shown",
                    f"no Sentinel showed within {ALIGN_WAIT_S:g} s that {plan.replica_to_promote} is up and preferred to "
                    + (", ".join(map(str, (*plan.siblings, *plan.lagging))) or "no other"),
                    "Look at the network between the Sentinels and the replicas, and run again.",
                    "align",
                )
            self.progress.notes.append(
                "not aligned: no Sentinel looked at the replica at a fitting moment; writes may stand still for a second more"
            )
            return ready[0], None

    def _info_ages(self, plan: Plan) -> dict[Address, float]:
        """For every Sentinel that shows the steering: the moment of its last INFO of R."""
        asked = (
            {view.address for view in self._snapshot.informed_sentinels}
            if plan.lagging
            else set(plan.preferred_leaders)
        )
        moments: dict[Address, float] = {}
        for leader, answer in self._fleet.gather(asked, self._timed_replicas).items():
            if isinstance(answer, (LinkError, ReplyError)):
                continue
            answered_at_s, entries = answer
            by_identity = {self._snapshot.identity(entry.address): entry for entry in entries}
            heir = by_identity.get(self._snapshot.identity(plan.replica_to_promote))
            if heir is None or heir.down:
                continue
            # Also one that was down when the run began, and has come back.
            if any(
                rival is not heir
                and rival.priority <= heir.priority
                and not sentinel_objections(leader, rival, self._snapshot.down_after_ms)
                for rival in entries
            ):
                continue
            moments[leader] = answered_at_s - heir.info_age_ms / 1000
        return moments

    def _timed_replicas(self, sentinel: Address) -> tuple[float, tuple[Any, ...]]:
        entries = parse_replica_entries(
            self._fleet.sentinel(sentinel).ask("SENTINEL", "REPLICAS", self._request.master_name)
        )
        return self._clock.now_s(), entries

    def _without_silent_siblings(self, plan: Plan) -> Plan:
        """Who does not answer now would hold up writes for nothing."""
        answers = self._applied_offsets(plan.siblings, FAST_ANSWER_S)
        silent = [address for address in plan.siblings if isinstance(answers[address], (LinkError, ReplyError))]
        for address in silent:
            self.progress.notes.append(f"{address} has stopped answering and is not waited for")
        return replace(
            plan,
            siblings=tuple(address for address in plan.siblings if address not in silent),
            lagging=(*plan.lagging, *silent),
        )

    def _recheck(self, plan: Plan, leader: Address, info_at_s: float | None) -> float:
        """Once more, right before writes stop: OM is master, R and the leader answer, no TILT, no failover in progress, nobody else at work.

        Returns:
            How long OM took to answer, in seconds.
        """
        if info_at_s is not None:
            self._sleep_until(info_at_s + RECHECK_AGE_S)
        with self._phase("recheck"):
            self._stop_if_requested()
            client = self._fleet.node(plan.old_master)
            try:
                self._check_lock(self._fleet.lock(plan.old_master))
                role, round_trip_s = self._timed_role(client)
                self._replication(plan.replica_to_promote)
            except (LinkError, ReplyError) as error:
                raise Refused("node_unreachable", f"{error}", "Look at this node and run again.", "recheck") from error
            if not role.is_master:
                raise Refused(
                    "master_changed",
                    f"{plan.old_master} is no longer a master",
                    "Look with topology_info and run again.",
                    "recheck",
                )
            self._refuse_if_disturbed(plan, leader)
            return round_trip_s

    def _await_moment(
        self, leader: Address, info_at_s: float | None, round_trip_s: float, watch_ticks: bool
    ) -> float | None:
        """Sleep until the fence should go up.

        Returns:
            The moment before which the trigger should have reached the leader; ``None``: no fitting moment came.
        """
        if info_at_s is None:
            return self._clock.now_s() + 3600
        lead_s = FENCE_WORK_S + FENCE_ROUND_TRIPS * round_trip_s
        if not watch_ticks:
            self._sleep_until(info_at_s + BLIND_AGE_S - lead_s)
            return info_at_s + LATEST_BLIND_AGE_S
        with self._phase("await_tick"):
            self._sleep_until(info_at_s + WATCH_AGE_S)
            forecast = TickForecast()
            slowest_look_s = 0.0
            looked_at_s = self._clock.now_s()
            while True:
                asked_at_s = self._clock.now_s()
                slowest_look_s = max(slowest_look_s, asked_at_s - looked_at_s)
                looked_at_s = asked_at_s
                hz = self._hz(leader)
                took_s = self._clock.now_s() - asked_at_s
                if hz is None or took_s > SLOWEST_TICK_WATCH_S:
                    return self._await_moment(leader, info_at_s, round_trip_s, watch_ticks=False)
                forecast.observe(asked_at_s, hz)
                tick_s = forecast.next_s
                if self._clock.now_s() > info_at_s + LATEST_TICK_AGE_S:
                    return None
                if tick_s is not None:
                    decision = verdict(tick_s - info_at_s)
                    start_s = tick_s - TRIGGER_MARGIN_S - min(slowest_look_s, MOST_JITTER_S) - lead_s
                    if decision == MISSED:
                        return None
                    if decision == TAKE and start_s > self._clock.now_s():
                        self._sleep_until(start_s)
                        return tick_s - TRIGGER_MARGIN_S / 4
                self._clock.sleep(TICK_POLL_S)

    def _hz(self, sentinel: Address) -> int | None:
        try:
            shown = parse_info(self._fleet.sentinel(sentinel).ask("INFO", "server", timeout_s=0.25)).get("hz", "")
        except (LinkError, ReplyError):
            return None
        return int(shown) if shown.isdigit() else None

    def _timed_role(self, client: Client) -> tuple[Role, float]:
        """ROLE, and how long an answer takes on average, the slow ones included."""
        began_s = self._clock.now_s()
        role = [parse_role(client.ask("ROLE")) for _look in range(ROUND_TRIP_LOOKS)][-1]
        return role, (self._clock.now_s() - began_s) / ROUND_TRIP_LOOKS

    def _refuse_if_disturbed(self, plan: Plan, leader: Address) -> None:
        states = self._sentinel_states(tilt=True)
        if any(isinstance(entry, (LinkError, ReplyError)) for entry in states.values()):
            states = self._sentinel_states(tilt=True)
        silent = {address: entry for address, entry in states.items() if isinstance(entry, (LinkError, ReplyError))}
        wanted = sentinels_wanted(self._snapshot, self._request.min_sentinels)
        if leader in silent or len(states) - len(silent) < wanted:
            raise Refused(
                "sentinels_missing",
                "; ".join(
                    f"Sentinel {address} has stopped answering: {error.message}" for address, error in silent.items()
                ),
                "Start it, or mend the way to it, and run again.",
                "recheck",
            )
        for address, (master, tilt) in ((a, entry) for a, entry in states.items() if a not in silent):
            if tilt:
                raise Refused("tilt", f"Sentinel {address} has gone into TILT", "Wait 30 s and run again.", "recheck")
            if master.failover_in_progress:
                raise Refused(
                    "failover_started",
                    f"Sentinel {address} has begun a failover of its own",
                    "Run again: it will be joined.",
                    "recheck",
                )
            if not self._snapshot.same(master.address, plan.old_master):
                raise Refused(
                    "master_changed",
                    f"Sentinel {address} now names {master.address}",
                    "Look again and run again.",
                    "recheck",
                )

    def _sentinel_states(self, tilt: bool = False) -> dict[Address, Any]:
        def ask(address: Address) -> tuple[MasterEntry, bool]:
            questions: list[tuple[object, ...]] = [("SENTINEL", "MASTER", self._request.master_name)]
            if tilt:
                questions.append(("INFO", "sentinel"))
            entry, *info = self._fleet.sentinel(address).ask_many(questions, timeout_s=0.5)
            return parse_master_entry(entry), bool(info) and parse_info(info[0]).get("sentinel_tilt", "0") != "0"

        return self._fleet.gather([view.address for view in self._snapshot.informed_sentinels], ask)

    def _fence(self, fence: Fence) -> None:
        with self._phase("fence"):
            try:
                fence.raise_up()
            except (LinkError, ReplyError) as error:
                raise Aborted(
                    "fence_failed",
                    f"writes could not be stopped: {error}",
                    "Nothing was moved. Look at this node and run again.",
                    "fence",
                ) from error
            self.progress.fenced_at_s = fence.raised_at_s
            self._timeline.add(
                "fence",
                f"{fence.address} acknowledges no more writes; its offset is {fence.position}",
                at_s=fence.raised_at_s,
            )

    def _lift(self, fence: Fence) -> None:
        try:
            fence.lift()
        except (LinkError, ReplyError) as error:
            raise Aborted(
                "fence_lost",
                f"the fence could not be lifted for another try: {error}",
                "Nothing was moved, and a pause ends by itself. Look at this node and run again.",
                "catch_up",
            ) from error

    def _catch_up(self, plan: Plan, fence: Fence) -> None:
        with self._phase("catch_up"):
            deadline_s = fence.raised_at_s + plan.fence_budget_ms / 1000
            try:
                behind = self._wait_applied(
                    (plan.replica_to_promote, *plan.siblings), fence.position, deadline_s, fence.renew_if_due
                )
            except (LinkError, ReplyError) as error:
                raise Aborted(
                    "fence_lost",
                    f"the fence could not be renewed: {error}",
                    "Nothing was moved. Run again.",
                    "catch_up",
                ) from error
            if behind:
                fence.lift_if_up()
                stood_ms = round((self._clock.now_s() - fence.raised_at_s) * 1000)
                self._timeline.add("unfence", f"{fence.address} takes writes again after {stood_ms} ms")
                raise Aborted(
                    "catch_up_timeout",
                    f"not caught up within {plan.fence_budget_ms} ms: "
                    + "; ".join(f"{address}: {text}" for address, text in behind.items()),
                    f"Nothing was moved; writes stood still for {stood_ms} ms. Look at what slows this replica, or raise catch_up_timeout.",
                    "catch_up",
                    {
                        "wanted_offset": fence.position.offset,
                        "behind": {str(address): text for address, text in behind.items()},
                    },
                )

    def _demote(self, plan: Plan, fence: Fence) -> bool:
        """Make OM a replica of R.

        Returns:
            Whether it is one now; ``False``: it had acknowledged more than R has, and it is the master again.
        """
        with self._phase("demote"):
            self._demotion_stands = True
            final = self._demote_once(plan, fence)
            behind = self._wait_applied((plan.replica_to_promote,), final, self._clock.now_s() + LATE_BYTES_WAIT_S)
            if not behind:
                self.progress.lossless = True
                self.progress.lossless_reason = (
                    f"{plan.replica_to_promote} had applied offset {final}, "
                    f"the last that {plan.old_master} reached when it stopped being a master"
                )
            elif plan.fence == MIN_REPLICAS_FENCE:
                # The fence was lifted in the very transaction that demoted: what came after its offset is no write of a client.
                self.progress.lossless = True
                self.progress.lossless_reason = (
                    f"{plan.replica_to_promote} had applied offset {fence.position}, "
                    f"after which {plan.old_master} acknowledged no write"
                )
                self.progress.notes.append(
                    f"{plan.old_master} ended at offset {final} by itself (expired keys or a ping) and may resynchronise in full"
                )
            else:
                self._timeline.add(
                    "late writes", f"{plan.old_master} ended at {final}; {behind[plan.replica_to_promote]}"
                )
                self._give_back(plan)
                return False
            self._timeline.add(
                "demoted", f"{plan.old_master} is a replica of {plan.replica_to_promote}; final offset {final}"
            )
            return True

    def _demote_once(self, plan: Plan, fence: Fence) -> Position:
        try:
            if plan.fence == MIN_REPLICAS_FENCE:
                # Pings and expired keys still move the offset; demoted ahead of R, OM would have to resynchronise in full.
                reached = self._replication(plan.old_master).position
                self._wait_applied((plan.replica_to_promote,), reached, self._clock.now_s() + LATE_BYTES_WAIT_S)
            return fence.demote(plan.replica_to_promote)
        except ReplyError as error:
            if fence.demoted:
                raise Unknown(
                    "demotion_in_doubt",
                    f"{plan.old_master} had stopped being a master before it was made a replica of {plan.replica_to_promote}: {error}",
                    "Somebody else is moving the master: look with topology_info, and run again.",
                    "demote",
                ) from error
            self._demotion_stands = False
            raise Aborted(
                "demotion_refused", f"{error}", "Nothing was moved; writes go on. Look at this node.", "demote"
            ) from error
        except LinkError as error:
            if not error.sent and not fence.demoted:
                self._demotion_stands = False
                raise Aborted(
                    "demotion_not_sent", f"{error}", "Nothing was moved; writes go on when the pause ends.", "demote"
                ) from error
            self._timeline.add("demotion in doubt", str(error))
            replication = self._look_after_doubt(plan, error)
            if replication.is_master:
                self._demotion_stands = False
                raise Aborted(
                    "demotion_lost", f"{error}", "Nothing was moved; writes go on. Run again.", "demote"
                ) from error
            fence.forget()
            return replication.position

    def _look_after_doubt(self, plan: Plan, doubt: LinkError) -> Replication:
        deadline_s = self._clock.now_s() + LEADER_SILENCE_S
        while True:
            try:
                return self._replication(plan.old_master, timeout_s=0.5)
            except (LinkError, ReplyError) as error:
                if self._clock.now_s() >= deadline_s:
                    raise Unknown(
                        "demotion_in_doubt",
                        f"{plan.old_master} was lost at the moment of its demotion ({doubt.message}); whether it is still a master is not known",
                        "If it is, writes go on. If it is not, Sentinel promotes a replica by itself within "
                        f"{(plan.down_after_ms + 30_000) // 1000} s, or run again: that finishes it. No write is lost either way.",
                        "demote",
                    ) from error
                self._clock.sleep(SETTLE_POLL_S)

    def _give_back(self, plan: Plan) -> None:
        """Make OM a master again. Only where no Sentinel has been told to promote R."""
        try:
            self._fleet.node(plan.old_master).order("REPLICAOF", "NO", "ONE")
            self._demotion_stands = False
            self.progress.lossless = False
            self._timeline.add("given back", f"{plan.old_master} is the master again")
        except (LinkError, ReplyError) as error:
            raise Unknown(
                "give_back_failed",
                f"{plan.old_master} could not be made a master again: {error.message}",
                "Run again: it is finished then. Sentinel promotes a replica by itself otherwise.",
                self.progress.phase,
            ) from error

    # ---- trigger, promote, agree, release ------------------------------------------------------------------------

    def _trigger_and_promote(self, plan: Plan, leader: Address) -> None:
        """Let a Sentinel promote R; after an abort by Sentinel once more."""
        leaders = [leader, *(other for other in plan.leaders if other != leader)]
        for attempt in range(3):
            accepted = self._trigger(plan, leaders)
            if accepted is None:
                winner = self._named_winner(plan)
                if winner is None:
                    break
                self._promoted(winner)
                return
            verdict = self._promote(plan, accepted)
            if verdict == "promoted":
                return
            if plan.strategy != FENCED:
                # The old master is still a master, and nothing is urgent.
                break
            self._timeline.add("trigger again", f"Sentinel {accepted}: {verdict}")
            if attempt == 0 and verdict == "silent":
                leaders = [other for other in leaders if other != accepted] or leaders
        self._give_back_or_say(plan)

    def _trigger(self, plan: Plan, leaders: Sequence[Address]) -> Address | None:
        """Send SENTINEL FAILOVER to the first that takes it; ``None``: every one refused or was never reached."""
        with self._phase("trigger"):
            for leader in leaders:
                if self._told and leader not in self._ignorant_leaders(plan):
                    continue
                self.progress.triggered_at_s = self._clock.now_s()
                self.progress.leader = leader
                self._told.add(leader)
                try:
                    words = ("COORDINATED",) if plan.strategy == COORDINATED else ()
                    self._fleet.sentinel(leader).order(
                        "SENTINEL", "FAILOVER", self._request.master_name, *words, timeout_s=2.0
                    )
                except ReplyError as error:
                    self._timeline.add("refused", str(error), who=f"sentinel {leader}")
                    if error.prefix == "INPROG":
                        return leader
                    self._told.discard(leader)
                    self.progress.notes.append(
                        f"Sentinel {leader} refused the failover: {error.prefix} {error.message}"
                    )
                    continue
                except LinkError as error:
                    self._timeline.add(
                        "trigger in doubt" if error.sent else "not reached", str(error), who=f"sentinel {leader}"
                    )
                    if not error.sent:
                        self._told.discard(leader)
                    elif self._taken_after_doubt(plan, leader):
                        return leader
                    continue
                self._timeline.add(
                    "trigger", f"Sentinel {leader} leads the failover", at_s=self.progress.triggered_at_s
                )
                return leader
        return None

    def _taken_after_doubt(self, plan: Plan, leader: Address) -> bool:
        """Whether a trigger whose answer was lost has had an effect. Waits until there can be none any more."""
        deadline_s = self._clock.now_s() + LEADER_SILENCE_S
        while self._clock.now_s() < deadline_s:
            if self._role(plan.replica_to_promote, default=None) == "master" or self._named_winner(plan) is not None:
                return True
            states = self._sentinel_states()
            entry = states.get(leader)
            if isinstance(entry, tuple) and (
                entry[0].failover_in_progress or not self._snapshot.same(entry[0].address, plan.old_master)
            ):
                return True
            self._clock.sleep(SETTLE_POLL_S)
        return False

    def _promote(self, plan: Plan, leader: Address) -> str:
        """Wait until R is a master.

        Returns:
            ``promoted``, ``aborted`` (the leader gave up) or ``silent`` (it can no longer be asked and has not acted).
        """
        began_s = self.progress.triggered_at_s
        deadline_s = self._clock.now_s() + self._request.timeout_s
        look_around_s = self._clock.now_s() + 0.5
        with self._phase("promote"):
            while self._clock.now_s() < deadline_s:
                if self._role(plan.replica_to_promote, default=None) == "master":
                    self._promoted(plan.replica_to_promote)
                    return "promoted"
                if self._clock.now_s() >= look_around_s:
                    look_around_s = self._clock.now_s() + 0.25
                    winner = self._named_winner(plan)
                    if winner is not None:
                        self._promoted(winner)
                        return "promoted"
                    state = self._leader_state(leader)
                    if state == "silent" and self._clock.now_s() > began_s + LEADER_SILENCE_S:
                        return "silent"
                    aborted = self._timeline.events(began_s, "-failover-abort", self._request.master_name)
                    if aborted and state != "in progress":
                        self.progress.notes.append(f"Sentinel {aborted[0][0]}: {aborted[0][1].channel}")
                        return "aborted"
                    if (
                        state == "idle"
                        and self._clock.now_s() > began_s + LEADER_SILENCE_S
                        and self._role(plan.replica_to_promote, default=None) == "replica"
                    ):
                        return "aborted"
                self._clock.sleep(PROMOTION_POLL_S)
            raise Unknown(
                "promotion_timeout",
                f"{plan.replica_to_promote} did not become a master within {self._request.timeout_s:g} s, and Sentinel {leader} has not given up",
                "It may still happen. Look with topology_info; run again to join it or to finish it.",
                "promote",
            )

    def _promoted(self, address: Address | None) -> None:
        now_s = self._clock.now_s()
        progress = self.progress
        if address != progress.new_master:
            progress.notes.append(f"Sentinel promoted {address} instead of {progress.new_master}")
            progress.lossless = False
            progress.lossless_reason = f"Sentinel chose {address}, which was not the one that was watched"
        progress.new_master = address
        progress.moved = True
        progress.promoted_at_s = now_s
        if progress.fenced_at_s is not None:
            progress.write_gap_ms = round((now_s - progress.fenced_at_s) * 1000, 1)
        self._timeline.add("promoted", f"{address} is a master", at_s=now_s)

    def _named_winner(self, plan: Plan) -> Address | None:
        """The replica that a Sentinel names as the master.

        The leader does when it has seen that it is one, which we may not be able to; the others when the leader has told them.
        """
        named = [name for name in self._named_masters().values() if not self._same_now(name, plan.old_master)]
        if any(self._same_now(name, plan.replica_to_promote) for name in named):
            return plan.replica_to_promote
        return next((name for name in named if self._role(name, default=None) == "master"), None)

    def _named_masters(self) -> dict[Address, Address]:
        """The master that each Sentinel names, of those that answer."""
        named = self._fleet.gather([view.address for view in self._snapshot.informed_sentinels], self._named_master)
        return {sentinel: name for sentinel, name in named.items() if isinstance(name, Address)}

    def _leader_state(self, leader: Address | None) -> str:
        entry = self._sentinel_states().get(leader) if leader is not None else None
        if not isinstance(entry, tuple):
            return "silent"
        return "in progress" if entry[0].failover_in_progress else "idle"

    def _give_back_or_say(self, plan: Plan) -> None:
        """No Sentinel promotes R: give OM back, where that is provably safe."""
        states = self._sentinel_states()
        may_act = [
            address
            for address, entry in states.items()
            if (entry[0].failover_in_progress if isinstance(entry, tuple) else address in self._told)
        ]
        if may_act or self._role(plan.replica_to_promote, default=None) != "replica":
            raise Unknown(
                "promotion_in_doubt",
                f"Sentinel {', '.join(map(str, may_act)) or 'unknown'} may still promote {plan.replica_to_promote}",
                "Run again: it is joined or finished then.",
                self.progress.phase,
            )
        detail = "; ".join(note for note in self.progress.notes if "Sentinel" in note) or "no Sentinel could be reached"
        if plan.strategy != FENCED:
            raise Aborted(
                "trigger_refused",
                detail,
                "Nothing was moved. Look at the Sentinels with topology_info.",
                self.progress.phase,
            )
        self._give_back(plan)
        raise Aborted(
            "trigger_refused",
            f"{detail}; {plan.old_master} is the master again",
            "Nothing was moved. A Sentinel that had begun a failover starts none by itself for twice failover-timeout.",
            self.progress.phase,
        )

    def _agree(self, plan: Plan) -> None:
        """Every Sentinel names the new master."""
        began_s = self.progress.promoted_at_s or self._clock.now_s()
        with self._phase("agree"):
            behind = self._wait_agreed(began_s + LEADER_SILENCE_S)
            ignorant = self._ignorant_leaders(plan) if behind else []
            if ignorant and self._leader_state(self.progress.leader) == "silent":
                # It died before it could tell the others: another one, told to fail over, finds R a master and adopts it.
                self._trigger(plan, [leader for leader in ignorant if leader != self.progress.leader])
            if behind:
                behind = self._wait_agreed(began_s + min(self._request.timeout_s, 30.0))
            if behind:
                self.progress.left += [
                    f"Sentinel {address} does not name {self.progress.new_master}: {text}"
                    for address, text in behind.items()
                ]
            else:
                self.progress.agree_ms = round((self._clock.now_s() - began_s) * 1000, 1)
                self._timeline.add("agreed", f"every Sentinel names {self.progress.new_master}")

    def _ignorant_leaders(self, plan: Plan) -> list[Address]:
        """Sentinels that could lead, if nobody has heard of a promotion. To one that has, a failover is another one, away from R."""
        named = self._named_masters()
        if any(not self._same_now(name, plan.old_master) for name in named.values()):
            return []
        return [leader for leader in plan.leaders if leader in named]

    def _wait_agreed(self, deadline_s: float) -> dict[Address, str]:
        behind = {view.address: "not asked" for view in self._snapshot.informed_sentinels}
        dead_deadline_s = self._clock.now_s() + DEAD_SERVER_WAIT_S
        while behind and self._clock.now_s() < deadline_s:
            answers = self._fleet.gather(tuple(behind), self._named_master)
            for address, answer in answers.items():
                if isinstance(answer, (LinkError, ReplyError)):
                    behind[address] = answer.message
                elif self._snapshot.same(answer, self.progress.new_master):
                    del behind[address]
                else:
                    behind[address] = f"it names {answer}"
            dead = all(isinstance(answers[address], LinkError) for address in behind)
            if behind and dead and self._clock.now_s() >= dead_deadline_s:
                break
            if behind:
                self._clock.sleep(PROMOTION_POLL_S)
        return behind

    def _named_master(self, sentinel: Address) -> Address | None:
        reply = self._fleet.sentinel(sentinel).ask(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._request.master_name, timeout_s=0.5
        )
        return Address(str(reply[0]), int(reply[1])) if reply else None

    def _release(self, plan: Plan) -> None:
        """Send away who still reads or subscribes at OM, as Sentinel does; no write is waiting there any more."""
        with self._phase("release"):
            client = self._fleet.node(plan.old_master)
            new_master = self.progress.new_master
            try:
                if new_master is not None and not self._snapshot.same(new_master, plan.replica_to_promote):
                    client.order("REPLICAOF", new_master.host, new_master.port)
                self._rewrite(client)
                self._let_the_new_ones_go(client)
                client.transact(("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "KILL", "TYPE", "pubsub"))
                self._timeline.add("released", f"the connections of {plan.old_master} were closed")
            except (LinkError, ReplyError) as error:
                self.progress.left.append(
                    f"the connections of {plan.old_master} could not be closed, its configuration not rewritten: {error.message}"
                )

    def _let_the_new_ones_go(self, client: Client) -> None:
        """Wait until nobody is at OM who came there lately: who is refused there leaves by itself and finds R."""
        deadline_s = self._clock.now_s() + MOST_RELEASE_WAIT_S
        looks_without = 0
        while looks_without < 2 and self._clock.now_s() < deadline_s:
            own, listing = client.ask_many([("CLIENT", "ID"), ("CLIENT", "LIST")], timeout_s=FAST_ANSWER_S)
            new = [
                row
                for row in parse_client_list(listing)
                if row.is_ordinary and row.age_s <= NEW_CONNECTION_AGE_S and row.id != own and row.name != LOCK_NAME
            ]
            looks_without = 0 if new else looks_without + 1
            self._clock.sleep(RELEASE_POLL_S)

    def _rewrite(self, client: Client) -> None:
        """CONFIG REWRITE. A server that was started without a configuration file has none to rewrite."""
        try:
            client.ask("CONFIG", "REWRITE")
        except ReplyError as error:
            if "without a config file" in error.message:
                self.progress.notes.append(
                    f"{client.address} has no configuration file: after a restart it does not know its role"
                )
            else:
                self.progress.left.append(
                    f"{client.address}: CONFIG REWRITE failed ({error.message}); after a restart it has its old settings and role"
                )

    # ---- the other ways ------------------------------------------------------------------------------------------

    def _finish(self, plan: Plan) -> None:
        """Go on where an interrupted run stopped: OM is a replica of R, and nobody has promoted R."""
        try:
            final = self._replication(plan.old_master)
            heir = self._replication(plan.replica_to_promote)
            if not heir.is_master and not heir.has_applied(final.position):
                self._wait_applied((plan.replica_to_promote,), final.position, self._clock.now_s() + LATE_BYTES_WAIT_S)
                heir = self._replication(plan.replica_to_promote)
        except (LinkError, ReplyError) as error:
            raise Refused("node_unreachable", str(error), "Run again when it can be asked.", "finish") from error
        if heir.is_master:
            # Its offset counts its own writes, too; what it had before them ends at second_offset.
            self.progress.lossless = final.replid == heir.replid2 and final.offset < heir.second_offset
        else:
            self.progress.lossless = heir.has_applied(final.position)
            if not self.progress.lossless:
                self._return_to_old_master(plan)
        if self.progress.lossless:
            self.progress.lossless_reason = (
                f"{plan.replica_to_promote} has everything up to offset {final.offset}, where {plan.old_master} ended"
            )
        elif heir.is_master:
            self.progress.lossless_reason = (
                f"whether {plan.replica_to_promote}, a master already, had everything can no longer be told"
            )
        else:
            self.progress.lossless_reason = f"{plan.replica_to_promote} is at offset {heir.applied_offset}, {plan.old_master} ended at {final.offset}"
        self._trigger_and_promote(plan, plan.leaders[0]) if plan.leaders else self._give_back_or_say(plan)
        self._agree(plan)
        self._release(plan)

    def _return_to_old_master(self, plan: Plan) -> None:
        """Where R lacks acknowledged writes and certainly nobody promotes it, OM is made the master again."""
        states = self._sentinel_states()
        if len(states) < len(self._snapshot.sentinels) or any(
            not isinstance(entry, tuple)
            or entry[0].failover_in_progress
            or not self._snapshot.same(entry[0].address, plan.old_master)
            for entry in states.values()
        ):
            return
        self._give_back(plan)
        raise Aborted(
            "late_writes",
            f"an interrupted run had demoted {plan.old_master}, which had acknowledged more than {plan.replica_to_promote} has; it is the master again",
            "Nothing was lost. Run again, and say expected_master.",
            "finish",
        )

    def _coordinated(self, plan: Plan) -> None:
        self._steer(plan)
        if plan.steering:
            leader, _moment = self._align(replace(plan, align=False))
        else:
            leader = plan.preferred_leaders[0]
        self._refuse_if_disturbed(plan, leader)
        before = next(
            view.master.failover_timeout_ms
            for view in self._snapshot.informed_sentinels
            if view.address == leader and view.master
        )
        self.progress.lossless_reason = (
            "the servers handed over at equal offsets by themselves; this run did not read them"
        )
        lowered = before > COORDINATED_TIMEOUT_MS
        try:
            if lowered:
                self._set_failover_timeout(leader, COORDINATED_TIMEOUT_MS)
            self._trigger_and_promote(replace(plan, leaders=(leader,)), leader)
            self._agree(plan)
        finally:
            if lowered:
                self._set_failover_timeout(leader, before)

    def _set_failover_timeout(self, sentinel: Address, milliseconds: int) -> None:
        try:
            self._fleet.sentinel(sentinel).order(
                "SENTINEL", "SET", self._request.master_name, "failover-timeout", milliseconds
            )
        except (LinkError, ReplyError) as error:
            if not self.progress.triggered_at_s:
                raise Refused(
                    "sentinel_not_permitted",
                    f"failover-timeout cannot be set: {error}",
                    "Permit +sentinel|set.",
                    "steer",
                ) from error
            self.progress.left.append(f"set failover-timeout {milliseconds} on Sentinel {sentinel}: {error}")

    def _plain(self, plan: Plan) -> None:
        self.progress.lossless_reason = (
            "SENTINEL FAILOVER alone leaves the old master writable until Sentinel demotes it, about eleven seconds later"
            if plan.master_reachable
            else "the old master could not be asked; what it had acknowledged and not replicated is lost"
        )
        self._steer(plan)
        if plan.steering:
            leader, _moment = self._align(replace(plan, align=False))
        else:
            leader = plan.preferred_leaders[0]
        self._refuse_if_disturbed(plan, leader)
        self._trigger_and_promote(plan, leader)
        self._agree(plan)

    def _join(self, plan: Plan) -> dict[str, Any]:
        """Wait for the end of a failover that somebody else began."""
        self.progress.leader = plan.preferred_leaders[0]
        self.progress.lossless_reason = (
            f"a failover that this run did not begin (Sentinel {plan.leaders[0]} led it) was joined"
        )
        deadline_s = self._clock.now_s() + self._request.timeout_s
        with self._phase("join"):
            names: set[Address | None] = set()
            while self._clock.now_s() < deadline_s:
                states = self._sentinel_states()
                busy = [
                    a for a, entry in states.items() if not isinstance(entry, tuple) or entry[0].failover_in_progress
                ]
                answers = self._fleet.gather(states, self._named_master)
                names = {self._snapshot.identity(n) if isinstance(n, Address) else None for n in answers.values()}
                if not busy and len(names) == 1:
                    break
                self._clock.sleep(SETTLE_POLL_S)
            else:
                raise Unknown(
                    "joined_failover_unfinished",
                    f"the failover led by Sentinel {plan.leaders[0]} has not ended within {self._request.timeout_s:g} s",
                    "It may still end. Look with topology_info and run again.",
                    "join",
                )
        new_identity = names.pop()
        known = {self._snapshot.identity(address): address for address in (*plan.others, plan.old_master)}
        new_master = known.get(new_identity, new_identity) if new_identity else None
        if new_master is None or self._snapshot.same(new_master, plan.old_master):
            self.progress.new_master = plan.old_master
            raise Aborted(
                "joined_failover_failed",
                f"the failover that was in progress ended without moving {plan.old_master}",
                "Nothing was moved. Run again to move it.",
                "join",
            )
        self.progress.new_master = new_master
        self.progress.moved = True
        self._wait_settled(plan, new_master)
        self._repair(plan)
        return self._outcome_of_the_moved()

    # ---- settle --------------------------------------------------------------------------------------------------

    def _settled_result(self, plan: Plan) -> dict[str, Any]:
        self._wait_settled(plan, self.progress.new_master or plan.replica_to_promote)
        if plan.action == FINISH:
            self._repair(plan)
        return self._outcome_of_the_moved()

    def _outcome_of_the_moved(self) -> dict[str, Any]:
        new_master, target = self.progress.new_master, self._request.target
        if new_master is not None and target is not None and not self._snapshot.same(target, new_master):
            self.progress.left.append(f"the master is {new_master}, not {target}: run again to move it there")
        elif new_master is not None and self._snapshot.on_host(new_master, self._request.avoid):
            self.progress.left.append(f"the master is {new_master}, on a host to leave: run again to move it away")
        if self.progress.left:
            return self._left_to_do()
        return self._result("switched", True)

    def _left_to_do(self) -> dict[str, Any]:
        return self._failed(
            Incomplete(
                "left_to_do",
                f"the master is {self.progress.new_master}; left to do: " + "; ".join(self.progress.left),
                "Mend what is named; a replica that is only slow needs nothing but time. Look with topology_info.",
                self.progress.phase,
            )
        )

    def _wait_settled(self, plan: Plan, new_master: Address) -> None:
        """Priorities put back, the leader's failover over, every replica follows."""
        with self._phase("settle"):
            self._lower_priorities()
            deadline_s = self._clock.now_s() + self._request.timeout_s
            wanted = [
                address
                for address in (*plan.others, plan.old_master, plan.new_master)
                if address and not self._snapshot.same(address, new_master)
            ]
            wanted = list(dict.fromkeys(wanted))
            excused = [address for address in wanted if self._was_down(address)]
            full_before = self._full_syncs_before(new_master)
            seen_syncing: set[Address] = set()
            states: dict[Address, str] = {}
            moved_on: tuple[Address, int] | None = None
            began_s = self._clock.now_s()
            while True:
                states, dead = self._follow_states(wanted, new_master, seen_syncing)
                entries = self._sentinel_states()
                moved_on = self._moved_on(entries, new_master)
                if moved_on is not None:
                    break
                unsettled, dead_sentinels = self._unsettled_sentinels(entries, new_master)
                waiting = {a: text for a, text in states.items() if text and a not in excused}
                if not waiting and not unsettled:
                    break
                only_dead_left = set(waiting) <= dead and set(unsettled) <= dead_sentinels
                now_s = self._clock.now_s()
                if now_s >= deadline_s or (only_dead_left and now_s >= began_s + DEAD_SERVER_WAIT_S):
                    self.progress.left += [f"{address}: {text}" for address, text in waiting.items()]
                    self.progress.left += [f"Sentinel {address}: {text}" for address, text in unsettled.items()]
                    break
                self._clock.sleep(SETTLE_POLL_S)
            self._rewrite_lowered()
            self.progress.notes += [
                f"{address} was down before and is not waited for" for address in excused if states.get(address)
            ]
            self._report_replicas(new_master, wanted, states, excused, seen_syncing, full_before)
            if moved_on is not None:
                raise self._moved_on_error(new_master, *moved_on)
            self._timeline.add("settled" if not self.progress.left else "not settled", "; ".join(self.progress.left))

    def _follow_states(
        self, wanted: Iterable[Address], new_master: Address, seen_syncing: set[Address]
    ) -> tuple[dict[Address, str], set[Address]]:
        """For each replica nothing, if it follows, or what is missing; and those that cannot be asked."""
        answers = self._fleet.gather(wanted, lambda address: self._replication(address, timeout_s=1.0))
        states = {}
        dead = set()
        for address, answer in answers.items():
            if isinstance(answer, (LinkError, ReplyError)):
                states[address] = f"it cannot be asked: {answer.message}"
                dead.add(address)
            elif answer.is_master:
                states[address] = "it still says that it is a master"
            elif not self._same_now(answer.master, new_master):
                states[address] = f"it follows {answer.master}"
            elif answer.sync_in_progress:
                seen_syncing.add(address)
                left = f", {answer.sync_left_bytes} bytes left" if answer.sync_left_bytes >= 0 else ""
                states[address] = f"it is in the middle of a full synchronisation{left}"
            else:
                states[address] = "" if answer.link_up else "its link to the new master is down"
        return states, dead

    def _same_now(self, one: Address | None, other: Address) -> bool:
        return one is not None and (
            self._snapshot.same(one, other) or self._fleet.endpoint(one) == self._fleet.endpoint(other)
        )

    def _moved_on(self, entries: dict[Address, Any], new_master: Address) -> tuple[Address, int] | None:
        """The master of a failover that came after ours, and its epoch.

        A Sentinel that is late names another master too, but of an epoch before ours.
        """
        before = [view.master.config_epoch for view in self._snapshot.informed_sentinels if view.master]
        # The leader names the old master, of the new epoch, until its failover is over.
        known = [
            entry[0] for entry in entries.values() if isinstance(entry, tuple) and not entry[0].failover_in_progress
        ]
        ours = [entry.config_epoch for entry in known if self._same_now(entry.address, new_master)]
        self._new_master_epoch = max(self._new_master_epoch, *before, *ours, 0)
        later = [
            (entry.config_epoch, entry.address)
            for entry in known
            if not self._same_now(entry.address, new_master) and entry.config_epoch > self._new_master_epoch
        ]
        if not later:
            return None
        epoch, address = max(later, key=lambda found: found[0])
        return address, epoch

    def _moved_on_error(self, new_master: Address, now_master: Address, epoch: int) -> Incomplete:
        self.progress.lossless = False
        self.progress.lossless_reason = (
            f"after the move to {new_master} Sentinel has failed over to {now_master} by itself (epoch {epoch}): what {new_master} "
            "acknowledged last may be lost"
        )
        self.progress.left.append(f"the master is {now_master} by now")
        self._timeline.add("moved on", f"Sentinel has failed over to {now_master} (epoch {epoch})")
        return Incomplete(
            "moved_on",
            f"the master was moved to {new_master}, and Sentinel has failed over from there to {now_master} by itself (epoch {epoch})",
            f"Find out in the logs of the Sentinels why they took {new_master} for down: a host that is overloaded, or a network. "
            "Run again if the master shall be elsewhere.",
            "settle",
        )

    def _unsettled_sentinels(
        self, entries: dict[Address, Any], new_master: Address
    ) -> tuple[dict[Address, str], set[Address]]:
        """Sentinels that have not arrived at the end, with the reason; and those that cannot be asked."""
        found = {}
        dead = set()
        for address, entry in entries.items():
            if isinstance(entry, (LinkError, ReplyError)):
                found[address] = entry.message
                dead.add(address)
            elif entry[0].failover_in_progress:
                found[address] = f"its failover is not over ({entry[0].failover_state})"
            elif not self._same_now(entry[0].address, new_master):
                found[address] = f"it names {entry[0].address}"
        return found, dead

    def _was_down(self, address: Address) -> bool:
        node = self._snapshot.node(address)
        entries = [
            entry
            for view in self._snapshot.informed_sentinels
            for entry in view.replicas
            if self._snapshot.same(entry.address, address)
        ]
        masters = [
            view.master
            for view in self._snapshot.informed_sentinels
            if view.master and self._snapshot.same(view.master.address, address)
        ]
        unreachable = node is None or not node.reachable
        return unreachable and (
            any(entry.down for entry in entries) or any(bool(m.flags & {"s_down", "o_down"}) for m in masters)
        )

    def _full_syncs_before(self, new_master: Address) -> int:
        node = self._snapshot_node(new_master)
        return node.sync_counters[0] if node is not None else 0

    def _report_replicas(
        self,
        new_master: Address,
        wanted: Iterable[Address],
        states: dict[Address, str],
        excused: Sequence[Address],
        seen_syncing: set[Address],
        full_before: int,
    ) -> None:
        full: int | None = None
        try:
            info = parse_info(self._fleet.node(new_master).ask("INFO", "stats"))
            full = int(info.get("sync_full", 0)) - full_before
        except (LinkError, ReplyError) as error:
            self.progress.notes.append(f"how the replicas resynchronised is not known: {error}")
        for address in wanted:
            if states.get(address):
                resync = "unknown"
            elif address in seen_syncing:
                resync = "full"
            else:
                resync = "partial" if full is not None and full <= len(seen_syncing) else "unknown"
            self.progress.replicas.append(
                {
                    **address.as_result(),
                    "following": not states.get(address),
                    "detail": states.get(address) or f"follows {new_master}",
                    "resync": resync,
                    "excused": address in excused,
                }
            )

    def _lower_priorities(self) -> None:
        """Put back what ``steer`` raised. The file is rewritten once Sentinel has reconfigured the node and rewritten it, too."""
        if not self._raised or self.progress.plan is None:
            return
        before = {steer.address: steer.priority for steer in self.progress.plan.steering}
        done = []
        for address in self._raised:
            try:
                self._fleet.node(address).ask("CONFIG", "SET", "replica-priority", before[address])
                done.append(address)
                self._timeline.add("unsteered", f"{address}: replica-priority {before[address]}")
            except (LinkError, ReplyError) as error:
                text = (
                    f"{address}: set replica-priority back to {before[address]} ({error.message}); the next run does it"
                )
                (self.progress.left if self.progress.moved else self.progress.notes).append(text)
        self._raised = []
        self._rewritten = tuple(done)

    def _rewrite_lowered(self) -> None:
        for address in self._rewritten:
            try:
                self._rewrite(self._fleet.node(address))
            except LinkError as error:
                text = f"{address}: CONFIG REWRITE ({error.message}); its file may have the raised replica-priority"
                (self.progress.left if self.progress.moved else self.progress.notes).append(text)

    # ---- small things --------------------------------------------------------------------------------------------

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began_s = self._clock.now_s()
        self.progress.phase = name
        self._timeline.add(name, "", at_s=began_s)
        try:
            yield
        finally:
            spent_ms = (self._clock.now_s() - began_s) * 1000
            self.progress.phases_ms[name] = round(self.progress.phases_ms.get(name, 0.0) + spent_ms, 1)

    def _replication(self, address: Address, timeout_s: float | None = None) -> Replication:
        return parse_replication(parse_info(self._fleet.node(address).ask("INFO", "replication", timeout_s=timeout_s)))

    def _role(self, address: Address | None, default: str | None) -> str | None:
        if address is None:
            return default
        try:
            role: Role = parse_role(self._fleet.node(address).ask("ROLE", timeout_s=0.25))
        except (LinkError, ReplyError):
            return default
        return role.role

    def _snapshot_node(self, address: Address) -> NodeView | None:
        node = self._snapshot.node(address)
        return node if node is not None and node.reachable else None

    def _sleep_until(self, moment_s: float) -> None:
        left_s = moment_s - self._clock.now_s()
        if left_s > 0:
            self._clock.sleep(left_s)

    def _stop_if_requested(self) -> None:
        if self._stop_requested():
            raise Refused(
                "interrupted",
                "the run was asked to end",
                "Nothing was moved. Run again when it suits.",
                self.progress.phase,
            )

    # ---- results -------------------------------------------------------------------------------------------------

    def _result(self, outcome: str, changed: bool) -> dict[str, Any]:
        return result_of(self.progress, self._timeline.as_result(), outcome, changed)

    def _failed(self, error: FailoverError) -> dict[str, Any]:
        writes_were_stopped = self.progress.fenced_at_s is not None
        outcome = "aborted" if error.outcome == "refused" and writes_were_stopped else error.outcome
        changed = self.progress.moved or outcome in ("incomplete", "unknown") or bool(self.progress.repaired)
        if error.code != "left_to_do":
            self.progress.notes += self.progress.left
        result = self._result(outcome, changed)
        result.update(
            failed=True,
            msg=error.sentence,
            phase=error.phase or self.progress.phase,
            error=error.code,
            remedy=error.remedy,
            seen=error.seen,
        )
        return result


def result_of(progress: Progress, timeline: list[dict[str, Any]], outcome: str, changed: bool) -> dict[str, Any]:
    """The result of a run that knows ``progress``, with every key that the documentation calls always returned."""
    old_master = str(progress.old_master) if progress.old_master else None
    new_master = str(progress.new_master) if progress.new_master else None
    return {
        "changed": changed,
        "outcome": outcome,
        "phase": progress.phase,
        "error": None,
        "strategy": progress.strategy or None,
        "old_master": progress.old_master.as_result() if progress.old_master else None,
        "new_master": progress.new_master.as_result() if progress.new_master else None,
        "leader": str(progress.leader) if progress.leader else None,
        "plan": progress.plan.as_result() if progress.plan else None,
        "lossless": progress.lossless and progress.moved,
        "lossless_reason": progress.lossless_reason if progress.moved else "nothing was moved",
        "write_gap_ms": progress.write_gap_ms,
        "agree_ms": progress.agree_ms,
        "phases_ms": progress.phases_ms,
        "timeline": timeline,
        "replicas": progress.replicas,
        "repaired": progress.repaired,
        "notes": list(dict.fromkeys(progress.notes)),
        "remedy": None,
        "diff": {
            "before": {"master": old_master},
            "after": {"master": new_master if progress.moved or outcome == "planned" else old_master},
        },
    }


def nothing_done() -> dict[str, Any]:
    """The result of a run whose options could not even be used."""
    return result_of(Progress(phase="options"), [], "refused", changed=False)
