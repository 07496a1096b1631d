# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a run, and the kinds of entries that its timeline can have: one table each.

Plan, documentation, report and surveys read these tables; none of them has words of its own for a step. Pure. This module is
private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        name: How results, messages and pages call it.
        purpose: What it is for.
        effect: What clients feel of it.
        if_killed: What happens if the program is killed in it.
    """

    name: str
    purpose: str
    effect: str
    if_killed: str


_NONE = "none"
_NOTHING_CHANGED = "nothing has changed"

DISCOVER = Step("discover", "Ask every Sentinel and every node; subscribe to their events.", _NONE, _NOTHING_CHANGED)
PLAN = Step("plan", "Check every hard requirement, and decide who is promoted and how.", _NONE, _NOTHING_CHANGED)
LOCK = Step("lock", "Keep a second run of this program away.", _NONE, "the lock ends with the connection")
REPAIR = Step("repair", "Put back what an interrupted run left.", _NONE, "the next run puts back the rest")
PROBE = Step(
    "probe",
    "See every candidate reach the offset that the master has now.",
    _NONE,
    _NOTHING_CHANGED,
)
STEER = Step(
    "steer",
    "Raise the priority number of every replica that Sentinel must not choose, and wait until the Sentinels show it.",
    _NONE,
    "the next run puts it back; the old value can be read off the number",
)
RECHECK = Step(
    "recheck",
    "Look once more: the master is a master, the candidates and the Sentinels answer, no TILT, no failover, no other run.",
    _NONE,
    _NOTHING_CHANGED,
)
TEACH = Step(
    "teach",
    "Let every Sentinel but the one that will lead know that the next epoch is taken.",
    _NONE,
    "the Sentinels' count of epochs is one higher, which changes nothing",
)
FENCE = Step(
    "fence",
    "Stop writes on the old master and read its offset at that instant.",
    "writes wait",
    "a pause ends by itself after its lease, and writes go on; a fence by min-replicas-to-write stands until the next run",
)
CATCH_UP = Step(
    "catch_up",
    "See every candidate apply all that the old master acknowledged.",
    "writes wait",
    "as in fence",
)
DEMOTE = Step(
    "demote",
    "Make the old master a replica of the new one, and read the last offset that it acknowledged.",
    "writes that wait are refused with READONLY",
    "no write is lost; the next run promotes at once; if nobody runs it, Sentinel promotes within 30 s after down-after-milliseconds",
)
TRIGGER = Step(
    "trigger",
    "Tell one Sentinel to fail over: it draws the epoch and leads.",
    "writes are refused",
    "the leading Sentinel finishes alone, within about 2 s",
)
PROMOTE = Step(
    "promote",
    "Make the new master a master, and let every other Sentinel know that the epoch is taken, if it does not know yet.",
    "writes go to the new master as soon as clients know it",
    "the leading Sentinel finishes alone, within about 2 s",
)
ANNOUNCE = Step(
    "announce",
    "Carry the news to the leading Sentinel, then to all others.",
    "clients that ask a Sentinel are led to the new master",
    "a Sentinel that has heard tells the others, within about 2 s",
)
AGREE = Step(
    "agree",
    "See every Sentinel name the new master.",
    "clients that ask a Sentinel are led to the new master",
    "the Sentinels go on by themselves",
)
FOLLOW = Step(
    "follow",
    "Let the other replicas follow the new master, and write every new role to its configuration file.",
    _NONE,
    "Sentinel does it, failover-timeout later (180 s unless it is set)",
)
DISCONNECT = Step(
    "disconnect",
    "Close the connections of clients that still read or subscribe at the old master.",
    "these clients look for the master again",
    "these clients stay where they are until they reconnect",
)
SETTLE = Step(
    "settle",
    "Put the priorities back, and see every replica follow the new master and every Sentinel list it.",
    _NONE,
    "the next run puts back what is left",
)
JOIN = Step(
    "join",
    "Wait for the end of a failover that somebody else began.",
    "those of that failover",
    "that failover goes on",
)
FINISH = Step(
    "finish",
    "Go on where an interrupted run stopped.",
    "writes are refused until the new master is known",
    "the next run goes on from here",
)

STEPS: tuple[Step, ...] = (
    DISCOVER,
    PLAN,
    LOCK,
    REPAIR,
    JOIN,
    FINISH,
    PROBE,
    STEER,
    RECHECK,
    TEACH,
    FENCE,
    CATCH_UP,
    DEMOTE,
    TRIGGER,
    PROMOTE,
    ANNOUNCE,
    AGREE,
    FOLLOW,
    DISCONNECT,
    SETTLE,
)
"""Every step, in the order in which a run can come to them."""

STEP_BEGINS = "step_begins"
REPAIRED = "repaired"
PRIORITY_RAISED = "priority_raised"
PRIORITY_RESTORED = "priority_restored"
FENCE_RAISED = "fence_raised"
FENCE_LIFTED = "fence_lifted"
LATE_WRITES = "late_writes"
DEMOTED = "demoted"
DEMOTION_IN_DOUBT = "demotion_in_doubt"
ROLLED_BACK = "rolled_back"
TRIGGERED = "triggered"
TRIGGER_REFUSED = "trigger_refused"
TRIGGER_IN_DOUBT = "trigger_in_doubt"
TRIGGER_NOT_REACHED = "trigger_not_reached"
RIVAL_SEEN = "rival_seen"
PROMOTED = "promoted"
ANNOUNCED = "announced"
ANNOUNCE_FAILED = "announce_failed"
STRAY_DEMOTED = "stray_demoted"
AGREED = "agreed"
FOLLOWING = "following"
DISCONNECTED = "disconnected"
SETTLED = "settled"
NOT_SETTLED = "not_settled"
MOVED_ON = "moved_on"
GOES_ON = "goes_on"
EVENTS_LOST = "events_lost"
WAITING = "waiting"

ENTRY_KINDS: dict[str, str] = {
    STEP_BEGINS: "a step of the run begins",
    REPAIRED: "what an interrupted run left on the subject was put back",
    PRIORITY_RAISED: "the replica-priority of the subject was raised, so that Sentinel does not choose it",
    PRIORITY_RESTORED: "the replica-priority of the subject was put back",
    FENCE_RAISED: "the subject acknowledges no more writes",
    FENCE_LIFTED: "the subject takes writes again; nothing was moved",
    LATE_WRITES: "the subject had acknowledged more than the candidate has",
    DEMOTED: "the subject became a replica of the candidate",
    DEMOTION_IN_DOUBT: "the connection to the subject was lost at its demotion",
    ROLLED_BACK: "the subject was made the master again",
    TRIGGERED: "the subject, a Sentinel, leads the failover",
    TRIGGER_REFUSED: "the subject, a Sentinel, refused to fail over",
    TRIGGER_IN_DOUBT: "whether the subject, a Sentinel, has taken the order is not known",
    TRIGGER_NOT_REACHED: "the subject, a Sentinel, never received the order",
    RIVAL_SEEN: "the subject, a Sentinel, has begun a failover of its own or names another master",
    PROMOTED: "the subject became a master",
    ANNOUNCED: "the subject, a Sentinel, was told and names the new master",
    ANNOUNCE_FAILED: "the subject, a Sentinel, was told and does not name the new master",
    STRAY_DEMOTED: "the subject, a master that nobody names, was made a replica",
    AGREED: "every Sentinel names the subject",
    FOLLOWING: "the subject was told to follow the new master",
    DISCONNECTED: "the connections of clients to the subject were closed",
    SETTLED: "everybody follows the subject",
    NOT_SETTLED: "the time is over and something is left to do",
    MOVED_ON: "Sentinel has failed over to the subject by itself",
    GOES_ON: "the subject is the master and was not to be: the run moves it on from there",
    EVENTS_LOST: "the subject, a Sentinel, sends no events any more",
    WAITING: "the run waits, and for longer than two seconds by now; the detail says for what",
}
"""Kind of an entry of the program -> what it says. The kind of an entry of a Sentinel is the channel of its event, for example ``+switch-master``."""
