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
        old_master: The master, exactly as the receiver names it.
        old_epoch: The configuration epoch that the receiver has for it.
        candidate: The replica to promote, exactly as the receiver spells it.
    """

    receiver: Address
    speaker: PeerEntry
    old_master: Address
    old_epoch: int
    candidate: Address

    def news(self, master_name: str, epoch: int) -> tuple[str, str, str]:
        """The command that tells it that the candidate is the master since an epoch."""
        return self._hello(epoch, master_name, self.candidate, epoch)

    def epoch_alone(self, master_name: str, epoch: int) -> tuple[str, str, str]:
        """The command that tells it that an epoch is taken, and nothing else that it did not know.

        A failover that it begins from then on gets a higher one. Two failovers of one epoch that name two masters would never level out.
        """
        return self._hello(epoch, master_name, self.old_master, self.old_epoch)

    def _hello(self, epoch: int, master_name: str, master: Address, config_epoch: int) -> tuple[str, str, str]:
        speaker = self.speaker
        words = (
            *(speaker.address.host, speaker.address.port, speaker.run_id, epoch),
            *(master_name, master.host, master.port, config_epoch),
        )
        return ("PUBLISH", HELLO_CHANNEL, ",".join(map(str, words)))


def route(snapshot: Snapshot, view: SentinelView, candidate: Address, leader: Address | None = None) -> Route | str:
    """How a Sentinel can be told of a new master, or why it cannot.

    Args:
        snapshot: What everybody says.
        view: The Sentinel.
        candidate: The replica to promote.
        leader: The Sentinel that leads, in whose name to speak; for itself, and where it is not known yet, any other.
    """
    if view.hello_refused:
        return f"Sentinel {view.address} refuses PUBLISH to {HELLO_CHANNEL}: {view.hello_refused}"
    entry = view.replica(snapshot.aliases(candidate))
    if view.current is None or view.master is None or not (entry or snapshot.same(view.current, candidate)):
        return f"Sentinel {view.address} does not list {candidate}"
    peers = [peer for peer in view.peers if peer.run_id and peer.run_id != view.run_id]
    if not peers:
        return f"Sentinel {view.address} knows no other Sentinel, in whose name it could be told"
    speakers = [peer for peer in peers if not peer.down] or peers
    if leader is not None and leader != view.address:
        speakers = [peer for peer in peers if snapshot.same(peer.address, leader)]
        if not speakers:
            return f"Sentinel {view.address} does not list Sentinel {leader}"
    return Route(
        view.address, speakers[0], view.current, view.master.config_epoch, entry.address if entry else view.current
    )


def routes(snapshot: Snapshot, candidate: Address, leader: Address | None = None) -> dict[Address, Route | str]:
    """How every Sentinel that answers can be told, or why not."""
    return {view.address: route(snapshot, view, candidate, leader) for view in snapshot.informed_sentinels}


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
    closed = ""
    for leader in leaders:
        closed = _closed(snapshot, candidate, leader, deaf)
        if not closed:
            first = [leader, *(other for other in leaders if other != leader)]
            fit = tuple(other for other in first if not _closed(snapshot, candidate, other, deaf))
            return Promoter(PROGRAM, f"Sentinel {leader} and the others can be told", fit)
    return Promoter(SENTINEL, closed or "no Sentinel is fit to lead", by_sentinel)


def _closed(snapshot: Snapshot, candidate: Address, leader: Address, deaf: Collection[Address]) -> str:
    """Why the news could not be carried if this Sentinel led; nothing, if it could. Every Sentinel that answers has to hear it."""
    if leader in deaf:
        return f"Sentinel {leader} sends us no events, which tell the epoch of its failover"
    ways = routes(snapshot, candidate, leader)
    return next((way for way in ways.values() if isinstance(way, str)), "")


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
