# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The news of a promotion, as one Sentinel tells it another: what is said, in whose name, and who can be told.

A Sentinel that has promoted a replica publishes a hello with a higher configuration epoch to the others, and they change their master at once
(``sentinelProcessHelloMessage`` in ``sentinel.c``). The program sends the very message that the leading Sentinel would send a quarter of a second later.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import HELLO_CHANNEL, Address, Event, PeerEntry
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import SentinelView, Snapshot

PROGRAM = "program"
SENTINEL = "sentinel"

FIRST_ORDER_MS = 104
"""No failover of Sentinel orders a promotion sooner after it began: on the third tick, of 52 ms at the fastest (``sentinelTimer``)."""


@dataclass(frozen=True)
class Route:
    """How one Sentinel is told.

    Attributes:
        receiver: The Sentinel.
        speaker: Another Sentinel, exactly as the receiver lists it. An unknown one would be entered as a new Sentinel, and counted for ever.
        candidate: The replica to promote, exactly as the receiver spells it.
    """

    receiver: Address
    speaker: PeerEntry
    candidate: Address

    def hello(self, master_name: str, epoch: int) -> tuple[str, str, str]:
        """The command that tells it that the candidate is the master since an epoch."""
        words = (
            self.speaker.address.host,
            self.speaker.address.port,
            self.speaker.run_id,
            epoch,
            master_name,
            self.candidate.host,
            self.candidate.port,
            epoch,
        )
        return ("PUBLISH", HELLO_CHANNEL, ",".join(map(str, words)))


def route(snapshot: Snapshot, view: SentinelView, candidate: Address, preferred: Address | None = None) -> Route | str:
    """How a Sentinel can be told of a new master, or why it cannot.

    Args:
        snapshot: What everybody says.
        view: The Sentinel.
        candidate: The replica to promote.
        preferred: The Sentinel in whose name to speak, if the receiver knows it: the one that leads.
    """
    if view.hello_refused:
        return f"Sentinel {view.address} refuses PUBLISH to {HELLO_CHANNEL}: {view.hello_refused}"
    entry = view.replica(snapshot.aliases(candidate))
    if entry is None:
        return f"Sentinel {view.address} does not list {candidate}"
    peers = [peer for peer in view.peers if peer.run_id and peer.run_id != view.run_id]
    if not peers:
        return f"Sentinel {view.address} knows no other Sentinel, in whose name it could be told"
    known = [peer for peer in peers if preferred is not None and peer.address == preferred]
    fit = [peer for peer in peers if not peer.down]
    return Route(view.address, (known or fit or peers)[0], entry.address)


@dataclass(frozen=True)
class Promoter:
    """Who promotes, why, and which Sentinels may lead, the best first."""

    by: str
    reason: str
    leaders: tuple[Address, ...]


def choose_promoter(
    snapshot: Snapshot, candidate: Address, leaders: Sequence[Address], wish: str, deaf: Collection[Address] = ()
) -> Promoter:
    """Whether the program promotes and carries the news, or Sentinel promotes in its own time.

    Args:
        snapshot: What everybody says.
        candidate: The replica to promote.
        leaders: The Sentinels that could lead, in the order in which they were given.
        wish: ``auto``, ``program`` or ``sentinel``.
        deaf: Sentinels whose events we do not get: the epoch of their failover could not be read.

    Returns:
        With the wish ``program`` and no way to do it: ``sentinel`` with the reason, which the caller refuses.
    """
    # redis-py asks the first Sentinel for SENTINEL MASTERS, where a leader shows the old address until its failover is over.
    by_sentinel = (*leaders[1:], *leaders[:1]) if leaders[:1] == [snapshot.sentinels[0].address] else tuple(leaders)
    if wish == SENTINEL:
        return Promoter(SENTINEL, "promotion: sentinel was asked for", by_sentinel)
    scripted = [v.address for v in snapshot.informed_sentinels if v.master and v.master.client_reconfig_script]
    if scripted and wish != PROGRAM:
        reason = (
            f"Sentinel {scripted[0]} has a client-reconfig-script, which is called as leader only if Sentinel promotes"
        )
        return Promoter(SENTINEL, reason, by_sentinel)
    views = {view.address: view for view in snapshot.informed_sentinels}
    closed = {
        leader: f"Sentinel {leader} sends us no events, which tell the epoch of its failover" if leader in deaf else way
        for leader in leaders
        if isinstance(way := route(snapshot, views[leader], candidate), str) or leader in deaf
    }
    fit = tuple(leader for leader in leaders if leader not in closed)
    if not fit:
        return Promoter(SENTINEL, "; ".join(map(str, closed.values())) or "no Sentinel is fit to lead", by_sentinel)
    return Promoter(PROGRAM, f"Sentinel {fit[0]} and the others can be told", fit)


def epoch_of(events: Sequence[Event], master_name: str) -> int | None:
    """The epoch of the failover that a Sentinel has begun: that of the ``+new-epoch`` directly before ``+try-failover`` of this master.

    Both are sent inside the command. Other masters share the epoch, so the first ``+new-epoch`` after it may be theirs.

    Args:
        events: What this Sentinel has published since it was told to fail over, in its order.
        master_name: The name of the master.
    """
    for before, event in zip(events, events[1:]):
        if event.channel == "+try-failover" and event.master_name == master_name and before.channel == "+new-epoch":
            return int(before.payload) if before.payload.isdigit() else None
    return None
