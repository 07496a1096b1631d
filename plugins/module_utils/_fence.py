# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stops writes on the old master.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import FENCE_MAX_LAG, FENCE_MIN_REPLICAS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError, Unknown
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import PAUSE_FENCE, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    Position,
    parse_info,
    parse_replication,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock


class Fence:
    """What stops writes on the old master: a pause with a lease, or min-replicas-to-write where there is no such pause."""

    def __init__(self, client: Client, plan: Plan, clock: Clock) -> None:
        self._client = client
        self._plan = plan
        self._clock = clock
        self._up = False
        self._renewed_at_s = 0.0
        self._settings: tuple[tuple[str, int], ...] = ()
        self.address = client.address
        self.position = Position("", -1)
        self.demoted = False
        self.raised_at_s = 0.0
        self.took_s = 0.0

    def raise_up(self) -> None:
        """Stop writes, and read the offset at that instant.

        Raises:
            LinkError, ReplyError: It could not be done; a lease that was taken ends by itself.
        """
        self._up = True
        began_s = self._clock.now_s()
        if self._plan.fence == PAUSE_FENCE:
            _ok, info = self._client.transact(self._pause(self._plan.lease_ms), ("INFO", "replication"))
        else:
            self._raise_settings()
            info = self._client.ask("INFO", "replication")
        self.raised_at_s = self._renewed_at_s = self._clock.now_s()
        self.took_s = self.raised_at_s - began_s
        self.position = self._master_position(info)

    def _pause(self, milliseconds: int) -> tuple[object, ...]:
        return ("CLIENT", "PAUSE", milliseconds, "WRITE")

    def _raise_settings(self) -> None:
        names = ("min-replicas-to-write", "min-replicas-max-lag")
        count, lag = (int(self._client.ask("CONFIG", "GET", name)[1]) for name in names)
        self._settings = tuple(zip(names, (count, lag)))
        self._client.transact(
            ("CONFIG", "SET", "min-replicas-max-lag", FENCE_MAX_LAG + lag),
            ("CONFIG", "SET", "min-replicas-to-write", FENCE_MIN_REPLICAS + count),
        )

    def _master_position(self, info: str) -> Position:
        replication = parse_replication(parse_info(info))
        if not replication.is_master:
            raise ReplyError(str(self.address), "READONLY", "it stopped being a master before the fence was up")
        return replication.position

    def renew_if_due(self) -> None:
        """Prolong the lease when a third of it has gone. A pause is only ever prolonged, never cut, by a second one."""
        if self._plan.fence != PAUSE_FENCE:
            return
        now_s = self._clock.now_s()
        left_s = self.raised_at_s + self._plan.fence_budget_ms / 1000 - now_s
        # A pause holds up Sentinel's own connection, too: for longer than down-after, and it would call this node down.
        lease_ms = min(self._plan.lease_ms, int((self.raised_at_s - now_s) * 1000) + self._plan.down_after_ms // 2)
        if now_s - self._renewed_at_s > self._plan.lease_ms / 3000 and left_s > 0 and lease_ms > 0:
            self._client.order(*self._pause(lease_ms), timeout_s=self._plan.lease_ms / 2000)
            self._renewed_at_s = now_s

    def demote(self, new_master: Address) -> Position:
        """Make this node a replica of ``new_master`` and lift the fence, in one transaction.

        Returns:
            The last position that this node reached as a master.
        """
        follow = ("REPLICAOF", new_master.host, new_master.port)
        if self._plan.fence == PAUSE_FENCE:
            info, _ok, _unpaused = self._client.transact(("INFO", "replication"), follow, ("CLIENT", "UNPAUSE"))
            self._up, self.demoted = False, True
            return self._master_position(info)
        # On 6.0 an INFO inside MULTI enters the replication stream: the replica would miss it, and this node resynchronise in full.
        self._client.transact(follow, *(("CONFIG", "SET", name, value) for name, value in self._settings))
        self._up, self.demoted = False, True
        return parse_replication(parse_info(self._client.ask("INFO", "replication"))).position

    def lift(self) -> None:
        """Let writes go on.

        Raises:
            LinkError, ReplyError: It could not be done.
        """
        if self._plan.fence == PAUSE_FENCE:
            self._client.order("CLIENT", "UNPAUSE")
        elif self._settings:
            self._client.transact(*(("CONFIG", "SET", name, value) for name, value in self._settings))
        self._up = False

    def lift_if_up(self) -> None:
        """Let writes go on, if they were stopped and have not been let go.

        A pause ends with its lease if this fails; settings stay, and the next run puts them back: the error says so.
        """
        if not self._up:
            return
        try:
            self.lift()
        except (LinkError, ReplyError) as error:
            if self._plan.fence != PAUSE_FENCE:
                raise Unknown(
                    "fence_left",
                    f"writes on {self.address} are still refused: {error}",
                    "Run again as soon as it can be asked: that lifts the fence. By hand: CONFIG SET "
                    + ", ".join(f"{name} {value}" for name, value in self._settings),
                    "fence",
                ) from error

    def forget(self) -> None:
        """It went down together with the node's role."""
        self._up = False
