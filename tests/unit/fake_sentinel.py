# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Sentinel of the model: its timer, its failover, its votes, and the hellos by which Sentinels learn of each other's.

It follows ``sentinel.c``. What it knows of a node is what it was last told, which may be 20 s old; what it says of the
deployment is its own, and need not be what the others say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from unit.builders import NAME

if TYPE_CHECKING:
    from unit.fake_connection import FakeConnection
    from unit.world import World

NEVER_S = float("-inf")
INFO_PERIOD_S = 10.0
BUSY_INFO_PERIOD_S = 1.0
"""Of replicas, while the master is down or a failover goes on, and of one whose link is down."""
HELLO_PERIOD_S = 2.0
CONVERT_AFTER_S = 4 * HELLO_PERIOD_S
SANE_INFO_S = 2 * INFO_PERIOD_S
VALID_INFO_S = 3 * INFO_PERIOD_S
VALID_INFO_DOWN_S = 5.0
ELECTION_TIMEOUT_S = 10.0
ASK_PERIOD_S = 1.0
DESYNC_S = 1.0
PARALLEL_SYNCS = 1


@dataclass
class Seen:
    """What a Sentinel last heard of a replica; nothing yet where ``at_s`` is ``NEVER_S``."""

    at_s: float
    role: str
    priority: int
    offset: int
    linked: bool
    master: Address | None
    role_since_s: float
    master_since_s: float = NEVER_S


@dataclass(frozen=True)
class Vote:
    """Whom a Sentinel wants to lead in an epoch."""

    run_id: str
    epoch: int


def never_seen(now_s: float) -> Seen:
    """A replica that was added just now."""
    return Seen(NEVER_S, "slave", 100, 0, False, None, now_s, now_s)


class FakeSentinel:
    """A Sentinel."""

    def __init__(self, world: World, address: Address, master: Address, peers: Iterable[Address]) -> None:
        self.world = world
        self.address = address
        self.run_id = f"sentinel-{address}"
        self.connections: list[FakeConnection] = []

        self.alive = True
        self.frozen = False
        self.tilt = False
        self.deaf = False
        """Whether the hellos of other Sentinels do not reach it."""
        self.cannot_resolve: set[str] = set()
        self.spelling: dict[Address, Address] = {}
        """How it shows nodes that announce themselves by another address."""
        self._inbox: list[Callable[[], None]] = []

        self.current_epoch = 1
        self.config_epoch = 1
        self.master = master
        self.peers = {f"sentinel-{other}": other for other in peers}
        self.seen: dict[Address, Seen] = {}
        self.vote = Vote("", 0)
        self.votes: dict[str, Vote] = {}

        self.master_info_at_s = NEVER_S
        self.master_role = "master"
        self.master_role_since_s = world.now_s
        self.master_alive_at_s = world.now_s
        self._said_down = (False, False)

        self.state = ""
        self.state_since_s = NEVER_S
        self.started_s = NEVER_S
        self.failover_epoch = 0
        self.forced = False
        self.hands_over = False
        """Whether the failover that it leads is a coordinated one."""
        self.promoted: Address | None = None
        self.reconfigured: list[Address] = []
        self._asked_s = NEVER_S

        self.hz = 10
        self._hello_at_s = world.now_s + world.random.uniform(0, HELLO_PERIOD_S)

        self.coordinated = False
        """Whether it knows COORDINATED."""
        self.tells_its_id = True
        """Whether it has MYID (6.2)."""
        self.failover_timeout_ms = 60_000
        self.refuses = ""
        self.refuses_hello = ""
        """The error that it answers to PUBLISH."""
        self.other_names: tuple[str, ...] = ()
        """Names under which it watches the same servers besides."""
        self.script = ""
        """Its client-reconfig-script."""

    @property
    def in_progress(self) -> bool:
        return bool(self.state)

    @property
    def named(self) -> Address:
        """What GET-MASTER-ADDR-BY-NAME answers."""
        return self.promoted if self.promoted and self.state == "reconf_slaves" else self.master

    @property
    def awake(self) -> bool:
        return self.alive and not self.frozen

    def shown(self, node: Address) -> Address:
        """How it spells the address of a node."""
        return self.spelling.get(node, node)

    # -- what it publishes --

    def publish(self, channel: str, payload: str) -> None:
        self.world.publish(self, channel, payload)

    def _publish_master(self, channel: str, more: str = "") -> None:
        master = self.shown(self.master)
        self.publish(channel, f"master {NAME} {master.host} {master.port}{more}")

    def _publish_replica(self, channel: str, replica: Address) -> None:
        it, master = self.shown(replica), self.shown(self.master)
        self.publish(channel, f"slave {it} {it.host} {it.port} @ {NAME} {master.host} {master.port}")

    # -- messages between Sentinels --

    def receive(self, action: Callable[[], None]) -> None:
        """A message has arrived; one that stands still reads it when it goes on."""
        if self.alive:
            if self.frozen:
                self._inbox.append(action)
            else:
                action()

    def thaw(self) -> None:
        self.frozen = False
        waiting, self._inbox = self._inbox, []
        for action in waiting:
            action()

    def hello(self) -> str:
        """What it tells the others of itself and of the master."""
        named = self.shown(self.named)
        fields = (self.address.host, self.address.port, self.run_id, self.current_epoch)
        return ",".join(map(str, (*fields, NAME, named.host, named.port, self.config_epoch)))

    def _say_hello(self) -> None:
        self._hello_at_s = self.world.now_s + HELLO_PERIOD_S
        for other in self.world.sentinels.values():
            if other is not self:
                self.world.send_hello(self, other, self.hello())

    def hear(self, text: str) -> None:
        """Process a hello, whoever has sent it."""
        fields = text.split(",")
        if len(fields) != 8 or fields[4] != NAME:
            return
        self._meet(Address(fields[0], int(fields[1])), fields[2])
        self._take_epoch(int(fields[3]))
        config_epoch = int(fields[7])
        if config_epoch <= self.config_epoch:
            return
        self.config_epoch = config_epoch
        master = self.world.real(Address(fields[5], int(fields[6])))
        if master != self.master:
            self._update_from(fields[2], master, fields[5])

    def _meet(self, address: Address, run_id: str) -> None:
        if self.peers.get(run_id) == address:
            return
        if run_id in self.peers:
            here = self.shown(self.master)
            change = f"ip {address.host} port {address.port} for {run_id}"
            self.publish("+sentinel-address-switch", f"master {NAME} {here.host} {here.port} {change}")
        self.peers[run_id] = address
        real = {other.run_id for other in self.world.sentinels.values()} - {self.run_id}
        if run_id not in real:
            self.world.violations.append(f"{self.world.now_s:.3f}: ghost {run_id} at {self.address}")

    def _take_epoch(self, epoch: int) -> None:
        if epoch > self.current_epoch:
            self.current_epoch = epoch
            self.publish("+new-epoch", str(epoch))

    def _update_from(self, run_id: str, master: Address, host: str) -> None:
        teller, old, new = self.peers[run_id], self.shown(self.master), self.shown(master)
        payload = f"sentinel {run_id} {teller.host} {teller.port} @ {NAME} {old.host} {old.port}"
        self.publish("+config-update-from", payload)
        self.publish("+switch-master", f"{NAME} {old.host} {old.port} {new.host} {new.port}")
        # The epoch is used up and the old master stays where the name cannot be resolved.
        if host not in self.cannot_resolve and master in self.world.nodes:
            self._reset_to(master)

    def _reset_to(self, master: Address) -> None:
        """Another master: whatever failover was under way ends, and everything has to be heard anew."""
        now_s = self.world.now_s
        replicas = [address for address in self.seen if address != master]
        if self.master not in (master, *replicas):
            replicas.append(self.master)
        self.master = master
        self.master_role, self.master_role_since_s, self.master_alive_at_s = "master", now_s, now_s
        self._said_down = (False, False)
        self.state, self.promoted, self.forced, self.hands_over = "", None, False, False
        self.state_since_s = self.started_s = NEVER_S
        self.vote = Vote("", self.vote.epoch)
        self.seen = {address: never_seen(now_s) for address in replicas}
        for address in replicas:
            self._publish_replica("+slave", address)

    # -- votes --

    def requested_vote(self, asker: FakeSentinel, master: Address, epoch: int) -> None:
        """Another Sentinel wants to lead."""
        if self.tilt or master != self.master:
            return
        vote = self._vote_for(asker.run_id, epoch)
        self.world.send(asker, partial(asker.votes.__setitem__, self.run_id, vote))

    def _vote_for(self, run_id: str, epoch: int) -> Vote:
        self._take_epoch(epoch)
        if self.vote.epoch < epoch and self.current_epoch <= epoch:
            self.vote = Vote(run_id, self.current_epoch)
            self.publish("+vote-for-leader", f"{run_id} {self.current_epoch}")
            if run_id != self.run_id:
                self.started_s = self.world.now_s + self.world.random.uniform(0, DESYNC_S)
        return self.vote

    def _is_elected(self) -> bool:
        count = Counter(vote.run_id for vote in self.votes.values() if vote.run_id and vote.epoch == self.current_epoch)
        first = count.most_common(1)[0][0] if count else self.run_id
        own = self._vote_for(first, self.failover_epoch)
        if own.run_id and own.epoch == self.failover_epoch:
            count[own.run_id] += 1
        if not count:
            return False
        winner, votes = count.most_common(1)[0]
        majority = (len(self.peers) + 1) // 2 + 1
        return winner == self.run_id and votes >= max(majority, self.world.quorum)

    # -- the timer --

    def tick(self) -> None:
        if not self.alive:
            return
        self.hz = self.world.random.randint(10, 19)
        self.world.at(self.world.now_s + 1000 // self.hz / 1000, self.tick)
        if self.frozen:
            return
        if self.world.now_s >= self._hello_at_s:
            self._say_hello()
        if self.tilt:
            return
        self._look_at_master()
        self._judge_master()
        self._step()
        for address in list(self.seen):
            self._look_if_due(address)

    def _look_if_due(self, address: Address) -> None:
        seen = self.seen.get(address)
        if seen is None:
            return
        busy = self.in_progress or not seen.linked or self._said_down[1]
        if self.world.now_s - seen.at_s > (BUSY_INFO_PERIOD_S if busy else INFO_PERIOD_S):
            self.look(address)
            self._judge_replica(address)

    def _look_at_master(self) -> None:
        now_s, master = self.world.now_s, self.world.nodes[self.master]
        if not master.alive:
            return
        self.master_alive_at_s = now_s
        if now_s - self.master_info_at_s > INFO_PERIOD_S:
            self.master_info_at_s = now_s
            role = "master" if master.is_master else "slave"
            if role != self.master_role:
                self.master_role, self.master_role_since_s = role, now_s
                sign = "+" if role == "master" else "-"
                self._publish_master(f"{sign}role-change", f" new reported role is {role}")

    @property
    def thinks_master_down(self) -> bool:
        now_s, down_after_s = self.world.now_s, self.world.down_after_ms / 1000
        if now_s - self.master_alive_at_s > down_after_s:
            return True
        return self.master_role == "slave" and now_s - self.master_role_since_s > down_after_s + 2 * INFO_PERIOD_S

    def _judge_master(self) -> None:
        down = self.thinks_master_down
        agreeing = self._who_agree() if down else []
        judged = (down, down and len(agreeing) >= self.world.quorum)
        for before, after, event in zip(self._said_down, judged, ("sdown", "odown"), strict=True):
            if before != after:
                more = f" #quorum {len(agreeing)}/{self.world.quorum}" if event == "odown" and after else ""
                self._publish_master(f"{'+' if after else '-'}{event}", more)
        self._said_down = judged
        backing_off = self.world.now_s - self.started_s < 2 * self.failover_timeout_ms / 1000
        if judged[1] and not self.in_progress and not backing_off:
            self.begin(forced=False)

    def _who_agree(self) -> list[FakeSentinel]:
        return [
            other
            for other in self.world.sentinels.values()
            if other.awake and not other.tilt and other.master == self.master and other.thinks_master_down
        ]

    def look(self, address: Address) -> None:
        """INFO of a replica."""
        node, now_s = self.world.nodes[address], self.world.now_s
        if not node.alive:
            return
        before = self.seen.get(address, never_seen(now_s))
        role, master = ("master" if node.is_master else "slave"), node.master or address
        # The priority is in the INFO of a replica only.
        priority = before.priority if node.is_master else int(node.settings["replica-priority"])
        self.seen[address] = Seen(
            now_s,
            role,
            priority,
            int(node.offset),
            node.linked,
            master,
            before.role_since_s if before.role == role else now_s,
            before.master_since_s if before.master == master else now_s,
        )

    def _judge_replica(self, address: Address) -> None:
        seen, node = self.seen[address], self.world.nodes[address]
        if not node.alive:
            return
        if seen.role == "master":
            if address != self.promoted:
                self._convert(address, seen)
            elif self.state == "wait_promotion":
                self._see_promotion(address)
        elif seen.master != self.master and self._master_looks_sane():
            self._fix_config(address, seen)

    def _fix_config(self, address: Address, seen: Seen) -> None:
        if self.world.now_s - seen.master_since_s > self.failover_timeout_ms / 1000:
            self._order_to_follow(address, self.master)
            self._publish_replica("+fix-slave-config", address)

    def _convert(self, address: Address, seen: Seen) -> None:
        if self.world.now_s - seen.role_since_s > CONVERT_AFTER_S and self._master_looks_sane():
            self._order_to_follow(address, self.master)
            self._publish_replica("+convert-to-slave", address)

    def _master_looks_sane(self) -> bool:
        fresh = self.world.now_s - self.master_info_at_s < SANE_INFO_S
        return self.master_role == "master" and not any(self._said_down) and fresh

    def _order_to_follow(self, address: Address, master: Address) -> None:
        node = self.world.nodes[address]
        self.world.follow(node, self.shown(master))
        self.world.kill_clients(node)

    # -- a failover that it leads --

    def begin(self, forced: bool) -> None:
        """By the command, or by itself."""
        self._enter("wait_start")
        self.current_epoch += 1
        self.failover_epoch = self.current_epoch
        self.forced, self.hands_over = forced, False
        self.promoted, self.reconfigured, self.votes = None, [], {}
        self.publish("+new-epoch", str(self.failover_epoch))
        self._publish_master("+try-failover")
        self.started_s = self.world.now_s + self.world.random.uniform(0, DESYNC_S)
        self._asked_s = NEVER_S

    def begin_other(self, name: str) -> None:
        """A failover of another master, which shares the epochs."""
        self.current_epoch += 1
        self.publish("+new-epoch", str(self.current_epoch))
        self.publish("+try-failover", f"master {name} 10.0.9.1 6379")

    def _enter(self, state: str) -> None:
        self.state, self.state_since_s = state, self.world.now_s

    @property
    def _overtime(self) -> bool:
        return self.world.now_s - self.state_since_s > self.failover_timeout_ms / 1000

    def _step(self) -> None:
        steps = {
            "wait_start": self._wait_start,
            "select_slave": self._select_replica,
            "send_slaveof_noone": self._order_promotion,
            "wait_promotion": self._wait_promotion,
            "reconf_slaves": self._reconfigure,
        }
        if self.state:
            steps[self.state]()

    def _wait_start(self) -> None:
        elected = self._is_elected()
        if not (elected or self.forced):
            self._ask_for_votes()
            timeout_s = min(ELECTION_TIMEOUT_S, self.failover_timeout_ms / 1000)
            if self.world.now_s - self.started_s > timeout_s:
                self._abort("-failover-abort-not-elected")
            return
        self._publish_master("+elected-leader")
        self._enter("select_slave")
        self._publish_master("+failover-state-select-slave")

    def _ask_for_votes(self) -> None:
        if self.world.now_s - self._asked_s < ASK_PERIOD_S:
            return
        self._asked_s = self.world.now_s
        for other in self.world.sentinels.values():
            if other.run_id in self.peers:
                request = partial(other.requested_vote, self, self.master, self.failover_epoch)
                self.world.send(other, request)

    def _select_replica(self) -> None:
        self.promoted = self.select()
        if self.promoted is None:
            self._abort("-failover-abort-no-good-slave")
            return
        self._publish_replica("+selected-slave", self.promoted)
        self._enter("send_slaveof_noone")
        self._publish_replica("+failover-state-send-slaveof-noone", self.promoted)

    def select(self) -> Address | None:
        """The replica that it would promote now."""
        valid_s = VALID_INFO_DOWN_S if self._said_down[0] else VALID_INFO_S
        fit = [
            (seen.priority, -seen.offset, self.world.nodes[address].run_id, address)
            for address, seen in self.seen.items()
            if self.world.nodes[address].alive and seen.priority != 0 and self.world.now_s - seen.at_s <= valid_s
        ]
        return min(fit)[3] if fit else None

    def _order_promotion(self) -> None:
        assert self.promoted is not None
        node = self.world.nodes[self.promoted]
        if not node.alive:
            if self._overtime:
                self._abort("-failover-abort-slave-timeout")
            return
        if self.hands_over:
            master = self.world.nodes[self.master]
            node.data = list(master.data)
            self.world.follow(master, node.address)
        self.world.promote(node)
        self.world.kill_clients(node)
        self._enter("wait_promotion")
        self._publish_replica("+failover-state-wait-promotion", self.promoted)

    def _wait_promotion(self) -> None:
        if self._overtime:
            self._abort("-failover-abort-slave-timeout")

    def _see_promotion(self, promoted: Address) -> None:
        self.config_epoch = self.failover_epoch
        self._enter("reconf_slaves")
        self._publish_replica("+promoted-slave", promoted)
        self._publish_master("+failover-state-reconf-slaves")
        self._hello_at_s = self.world.now_s

    def _reconfigure(self) -> None:
        assert self.promoted is not None
        if not self._overtime and self._reconfigure_next(self.promoted):
            return
        self._publish_master("+failover-end")
        old, new = self.shown(self.master), self.shown(self.promoted)
        self.publish("+switch-master", f"{NAME} {old.host} {old.port} {new.host} {new.port}")
        self._reset_to(self.promoted)

    def _reconfigure_next(self, promoted: Address) -> bool:
        """Whether there is still one to wait for."""
        waiting: list[Address] = []
        for address, seen in self.seen.items():
            if address == promoted or not self.world.nodes[address].alive:
                continue
            if address not in self.reconfigured:
                if len(waiting) < PARALLEL_SYNCS:
                    self._order_to_follow(address, promoted)
                    self.reconfigured.append(address)
                    self._publish_replica("+slave-reconf-sent", address)
                waiting.append(address)
            elif not (seen.linked and seen.master == promoted):
                waiting.append(address)
        return bool(waiting)

    def _abort(self, channel: str) -> None:
        self._publish_master(channel)
        self.state, self.promoted, self.forced = "", None, False
