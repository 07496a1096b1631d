# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stops writes on the old master: a pause with a lease, or settings where there is no such pause.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import FENCE_MAX_LAG, FENCE_MIN_REPLICAS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError, failure
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import PAUSE_FENCE, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    Position,
    Replication,
    parse_info,
    parse_replication,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock

FENCE_SETTINGS = ("min-replicas-to-write", "min-replicas-max-lag")
CHANGES = ("rdb_changes_since_last_save", "rdb_last_save_time")


class Fence(ABC):
    """A fence on one node.

    Attributes:
        address: The node.
        position: The position at the instant at which writes stopped.
        raised_at_s: That instant, in monotonic seconds.
        demoted: Whether the node was told, by this fence, to be a replica.
        held: Whether it is known that no client wrote behind it until the node was demoted. A pause cannot tell: there the offset alone counts.
    """

    def __init__(self, client: Client, plan: Plan, clock: Clock) -> None:
        self._client = client
        self._plan = plan
        self._clock = clock
        self._up = False
        self.address = client.address
        self.position = Position("", -1)
        self.demoted = False
        self.held = False
        self.raised_at_s = 0.0

    def raise_up(self) -> None:
        """Stop writes, and read the position at that instant.

        Raises:
            LinkError, ReplyError: It could not be done; a lease that was taken ends by itself.
        """
        self._up = True
        info = self._stop_writes()
        self.raised_at_s = self._clock.now_s()
        self.position = _master_position(self.address, info)

    def demote(self, new_master: Address) -> Position:
        """Make this node a replica of ``new_master`` and lift the fence, in one transaction.

        Returns:
            The last position that this node reached as a master.

        Raises:
            LinkError, ReplyError: It could not be done, or is in doubt.
        """
        position = self._demote(("REPLICAOF", new_master.host, new_master.port))
        self._up = False
        return position

    def lift(self) -> None:
        """Let writes go on.

        Raises:
            LinkError, ReplyError: It could not be done.
        """
        self._let_writes_go()
        self._up = False

    def lift_if_up(self) -> None:
        """Let writes go on, if they were stopped and have not been let go. A pause ends with its lease if this fails.

        Raises:
            UnknownOutcomeError: Settings stay; the next run puts them back.
        """
        if not self._up:
            return
        try:
            self.lift()
        except (LinkError, ReplyError) as error:
            self._not_lifted(error)

    def forget(self) -> None:
        """It went down together with the node's role."""
        self._up = False

    @abstractmethod
    def renew_if_due(self) -> None:
        """Prolong it, where it ends by itself."""

    @abstractmethod
    def _stop_writes(self) -> str:
        """Have writes stopped; ``INFO replication`` of that instant."""

    @abstractmethod
    def _demote(self, follow: tuple[object, ...]) -> Position:
        """Let the node follow another and let writes go on, in one transaction; the last position as a master."""

    @abstractmethod
    def _let_writes_go(self) -> None:
        """Let writes go on."""

    @abstractmethod
    def _not_lifted(self, error: LinkError | ReplyError) -> None:
        """What an error means that came instead of letting writes go on."""


class PauseFence(Fence):
    """``CLIENT PAUSE ms WRITE``: writes wait. Its lease is renewed, and never lasts beyond half of down-after in all."""

    def __init__(self, client: Client, plan: Plan, clock: Clock) -> None:
        super().__init__(client, plan, clock)
        self._renewed_at_s = 0.0

    def renew_if_due(self) -> None:
        """Prolong the lease when a third of it has gone. A pause is only ever prolonged, never cut, by a second one."""
        now_s = self._clock.now_s()
        left_s = self.raised_at_s + self._plan.fence_budget_ms / 1000 - now_s
        # A pause holds up Sentinel's own connection, too: for longer than down-after, and it would call this node down.
        lease_ms = min(self._plan.lease_ms, int((self.raised_at_s - now_s) * 1000) + self._plan.down_after_ms // 2)
        if now_s - self._renewed_at_s > self._plan.lease_ms / 3000 and left_s > 0 and lease_ms > 0:
            self._client.order(*_pause(lease_ms), timeout_s=self._plan.lease_ms / 2000)
            self._renewed_at_s = now_s

    def _stop_writes(self) -> str:
        _ok, info = self._client.transact(_pause(self._plan.lease_ms), ("INFO", "replication"))
        self._renewed_at_s = self._clock.now_s()
        return str(info)

    def _demote(self, follow: tuple[object, ...]) -> Position:
        info, _ok, _unpaused = self._client.transact(("INFO", "replication"), follow, ("CLIENT", "UNPAUSE"))
        self._up, self.demoted = False, True
        return _master_position(self.address, info)

    def _let_writes_go(self) -> None:
        self._client.order("CLIENT", "UNPAUSE")

    def _not_lifted(self, error: LinkError | ReplyError) -> None:
        """The lease ends."""


class SettingsFence(Fence):
    """``min-replicas-to-write`` that nobody can meet: writes are refused. The old values can be read off the new ones.

    Servers that have no other fence do not refuse what a script writes, nor some of them a transaction that was begun before. So the node's own
    count of changes is read when it goes up and when it is gone: pings and expired keys do not count in it, writes do.
    """

    def __init__(self, client: Client, plan: Plan, clock: Clock) -> None:
        super().__init__(client, plan, clock)
        self._settings: tuple[tuple[str, int], ...] = ()
        self._changes: tuple[str, ...] = ()

    def renew_if_due(self) -> None:
        """It stands until it is lifted."""

    def _stop_writes(self) -> str:
        count, lag = (int(self._client.ask("CONFIG", "GET", name)[1]) for name in FENCE_SETTINGS)
        self._settings = tuple(zip(FENCE_SETTINGS, (count, lag)))
        self._client.transact(
            ("CONFIG", "SET", "min-replicas-max-lag", FENCE_MAX_LAG + lag),
            ("CONFIG", "SET", "min-replicas-to-write", FENCE_MIN_REPLICAS + count),
        )
        self._changes, info = self._changes_and_info()
        return info

    def _demote(self, follow: tuple[object, ...]) -> Position:
        # On 6.0 an INFO inside MULTI enters the replication stream: the replica would miss it, and this node resynchronise in full.
        self._client.transact(follow, *_restored(self._settings))
        self._up, self.demoted = False, True
        changes, info = self._changes_and_info()
        self.held = changes == self._changes and all(changes)
        return _replication(info).position

    def _changes_and_info(self) -> tuple[tuple[str, ...], str]:
        """The count of changes, with the save since which it counts; and INFO, of a moment not before."""
        persistence, info = self._client.ask_many([("INFO", "persistence"), ("INFO", "replication")])
        fields = parse_info(persistence)
        return tuple(fields.get(name, "") for name in CHANGES), str(info)

    def _let_writes_go(self) -> None:
        if self._settings:
            self._client.transact(*_restored(self._settings))

    def _not_lifted(self, error: LinkError | ReplyError) -> None:
        settings = ", ".join(f"{name} {value}" for name, value in self._settings)
        raise failure(
            "fence_left", f"writes on {self.address} are still refused: {error}", settings=settings
        ) from error


def fence_of(client: Client, plan: Plan, clock: Clock) -> Fence:
    """The fence that a plan wants, not yet raised."""
    return (PauseFence if plan.fence == PAUSE_FENCE else SettingsFence)(client, plan, clock)


def _pause(milliseconds: int) -> tuple[object, ...]:
    return ("CLIENT", "PAUSE", milliseconds, "WRITE")


def _restored(settings: tuple[tuple[str, int], ...]) -> list[tuple[object, ...]]:
    return [("CONFIG", "SET", name, value) for name, value in settings]


def _replication(info: str) -> Replication:
    return parse_replication(parse_info(info))


def _master_position(address: Address, info: str) -> Position:
    replication = _replication(info)
    if not replication.is_master:
        raise ReplyError(str(address), "READONLY", "it stopped being a master before the fence was up")
    return replication.position
