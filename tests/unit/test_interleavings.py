# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""No order of events does harm to the protocol of promote and announce, and each guard is needed: without it, one does."""

from __future__ import annotations

import pytest
from unit.interleavings import C, Found, Protocol, R, Scene, State, search

OURS = Protocol()


def told(states: list[State]) -> str:
    """A way to harm, to be read in the message of a failure."""
    return "\n".join(f"{state.program} {state.sentinels} {state.nodes}" for state in states)


def assert_harmless(found: Found) -> None:
    for kind, states in found.harms.items():
        pytest.fail(f"{kind}\n{told(states)}")


# ---- ours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scene",
    [
        Scene(kills=1, faults=1),
        Scene(faults=2),
        Scene(kills=1, faults=1, laggard=True),
        Scene(kills=1, faults=1, low_leader=True),
        Scene(kills=1, other_master=True),
        Scene(kills=1, faults=1, leader_ahead=True),
        Scene(kills=1, faults=1, rivals=1, rival_is_first=True),
    ],
    ids=["killed and faulty", "faulty twice", "laggard", "low epoch", "another master", "leader ahead", "rival first"],
)
def test_whatever_happens_nothing_is_lost_and_all_agree(scene: Scene) -> None:
    found = search(scene, OURS)
    assert_harmless(found)
    assert ("lifted" if scene.rival_is_first else "switched") in found.ends


@pytest.mark.parametrize("preferred", [R, C], ids=["R", "another than R"])
@pytest.mark.parametrize(("kills", "faults"), [(1, 0), (0, 1)], ids=["killed", "faulty"])
def test_a_rival_at_any_moment_does_no_harm_where_the_leaders_prefer_the_same(
    preferred: int, kills: int, faults: int
) -> None:
    scene = Scene((preferred,), (preferred,), rivals=1, kills=kills, faults=faults)
    found = search(scene, OURS)
    assert_harmless(found)
    assert {"switched", "joined"} <= found.ends


def test_what_two_leaders_of_one_epoch_do_to_each_other_is_never_called_switched() -> None:
    """Sentinel's own split, where each prefers another replica and the rival began between our look and our trigger."""
    found = search(Scene(rivals=1), OURS)
    assert "split" in found.kinds
    assert {end for _kind, end in found.harms} <= {"unknown", "joined"}


# ---- wrong ---------------------------------------------------------------------------------------------------------

BEGUN_BEFORE = Scene(rivals=1, rival_is_first=True)
BOTH_PREFER_C = Scene((C,), (C,), rivals=1)
BOTH_PREFER_C_AND_LEADER_AHEAD = Scene((C,), (C,), rivals=1, leader_ahead=True)


@pytest.mark.parametrize(
    ("protocol", "scene", "kind"),
    [
        pytest.param(Protocol(leader_first=False), Scene(), "split", id="others told first"),
        pytest.param(Protocol(checks_leader=False), Scene(), "split", id="others told before the leader has given in"),
        pytest.param(
            Protocol(steers_laggards=False), Scene(laggard=True), "loss", id="laggard neither waited for nor steered"
        ),
        pytest.param(Protocol(known_run_id=False), Scene(), "ghost", id="own or unknown run id"),
        pytest.param(Protocol(teaches_leader=False), Scene(low_leader=True), "split", id="epoch not higher"),
        pytest.param(Protocol(reads_own_event=False), Scene(other_master=True), "loss", id="epoch of another master"),
        pytest.param(Protocol(looks_before_news=False), BOTH_PREFER_C, "split", id="told without a fresh look"),
        pytest.param(Protocol(looks_before_demotion=False), BEGUN_BEFORE, "split", id="triggered after another began"),
        pytest.param(
            Protocol(triggers_another=True), Scene(faults=1), "loss", id="another triggered after one has heard"
        ),
        pytest.param(Protocol(guesses_epoch=True), Scene(kills=1), "split", id="next run guesses the epoch"),
        pytest.param(
            Protocol(teaches_others=False), BOTH_PREFER_C_AND_LEADER_AHEAD, "split", id="others not taught the epoch"
        ),
        pytest.param(
            Protocol(compares_what_was_taught_ahead=False),
            BOTH_PREFER_C_AND_LEADER_AHEAD,
            "split",
            id="others taught an epoch that is too low",
        ),
    ],
)
def test_a_wrong_variant_does_harm(protocol: Protocol, scene: Scene, kind: str) -> None:
    assert search(scene, protocol, first_only=True).kinds == {kind}
    assert not search(scene, OURS).kinds
