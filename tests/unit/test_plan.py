# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided from a snapshot and a request: one row for each outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import STEERING
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import PROBED_COMMANDS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._decide import decide
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Plan, Steering
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import NEVER_MS, Address, Role
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot
from unit.builders import (
    L0,
    L1,
    L2,
    NAME,
    OM,
    S2,
    R,
    S,
    master_entry,
    master_node,
    peer_entry,
    replica_entry,
    replica_node,
    sentinel_view,
    snapshot,
)

ELSEWHERE = Address("10.0.0.99", 6379)


def plan(seen: Snapshot | None = None, **request: Any) -> Plan:
    return decide(seen or snapshot(), Request(NAME, **request))


def refusal(seen: Snapshot, **request: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        decide(seen, Request(NAME, **request))
    return caught.value


def views(change: Callable[[SentinelView], SentinelView]) -> Snapshot:
    """A healthy deployment, one thing of which every Sentinel says otherwise."""
    return snapshot([change(sentinel_view(address)) for address in (L0, L1, L2)])


def one_view(**changes: Any) -> Snapshot:
    """A healthy deployment, of which the last Sentinel says something else."""
    return snapshot([sentinel_view(L0), sentinel_view(L1), sentinel_view(L2, **changes)])


def entries(**changes: Any) -> Snapshot:
    """Of R, every Sentinel says something else; S is not there."""
    return views(lambda view: replace(view, replicas=(replica_entry(R, **changes),)))


def nodes(*changed: NodeView) -> Snapshot:
    """A healthy deployment, in which these nodes say something else."""
    by_address = {node.address: node for node in (master_node(), replica_node(R), replica_node(S))}
    return snapshot(nodes={**by_address, **{node.address: node for node in changed}}.values())


def alone(node: NodeView) -> Snapshot:
    """R is the only replica, and says something else."""
    seen = entries()
    return replace(seen, nodes=(master_node(), node))


def gone(address: Address, code: str = "unreachable") -> NodeView:
    return NodeView(address, error="Connection refused", error_code=code)


def no_sentinel(code: str) -> Snapshot:
    return snapshot([SentinelView(L0, error="it does not answer", error_code=code)], nodes=[])


DOWN = frozenset({"master", "s_down", "o_down"})

REFUSALS: dict[str, tuple[str, Callable[[], Snapshot], dict[str, Any]]] = {
    "no Sentinel answers": ("sentinel_unreachable", lambda: no_sentinel("unreachable"), {}),
    "wrong password for Sentinel": ("sentinel_auth", lambda: no_sentinel("auth"), {}),
    "TLS to Sentinel": ("sentinel_tls", lambda: no_sentinel("tls"), {}),
    "Sentinel does not permit": ("sentinel_not_permitted", lambda: no_sentinel("not_permitted"), {}),
    "one Sentinel is down": (
        "sentinels_missing",
        lambda: snapshot([sentinel_view(L0), sentinel_view(L1), SentinelView(L2, error="x", error_code="unreachable")]),
        {},
    ),
    "fewer than are wanted": ("sentinels_missing", snapshot, {"min_sentinels": 4}),
    "one Sentinel refuses the login": (
        "sentinel_auth",
        lambda: snapshot([sentinel_view(L0), SentinelView(L1, error="x", error_code="auth")]),
        {},
    ),
    "unknown name": (
        "master_unknown",
        lambda: views(lambda view: replace(view, master=None, current=None, replicas=(), quorum_ok=False)),
        {},
    ),
    "one does not know the name": ("sentinels_disagree", lambda: one_view(master=None, current=None), {}),
    "they name two masters": ("sentinels_disagree", lambda: one_view(current=R), {}),
    "two epochs": ("sentinels_disagree", lambda: one_view(master=master_entry(config_epoch=7)), {}),
    "tilt": ("tilt", lambda: one_view(tilt=True), {}),
    "no quorum": ("no_quorum", lambda: one_view(quorum_ok=False, quorum_detail="NOQUORUM 1 usable"), {}),
    "no replica": ("no_replica", lambda: views(lambda view: replace(view, replicas=())), {}),
    "no address": ("master_unknown", lambda: views(lambda view: replace(view, current=None)), {}),
    "another master than expected": ("expected_master_mismatch", snapshot, {"expected_master": R}),
    "unknown target": ("target_unknown", snapshot, {"target": ELSEWHERE}),
    "target on a host to leave": ("target_avoided", snapshot, {"target": R, "avoid": (OM.host, R.host)}),
    "all on hosts to leave": ("avoid_leaves_nobody", snapshot, {"avoid": (OM.host, R.host, S.host)}),
    "target down": ("target_down", lambda: entries(flags=frozenset({"slave", "s_down"})), {"target": R}),
    "target silent": ("target_down", lambda: entries(last_ok_ping_ms=5001), {"target": R}),
    "target of priority 0": ("target_never_promoted", lambda: entries(priority=0), {"target": R}),
    "target's own priority 0": (
        "target_never_promoted",
        lambda: alone(replica_node(R, link={"priority": 0})),
        {"target": R},
    ),
    "target not looked at": ("target_stale", lambda: entries(info_age_ms=NEVER_MS), {"target": R}),
    "target's link down for long": ("target_link_down", lambda: entries(link_down_ms=50_001), {"target": R}),
    "target's link down": ("target_link_down", lambda: alone(replica_node(R, link={"link_up": False})), {"target": R}),
    "target is a master": ("target_is_master", lambda: alone(master_node(R)), {"target": R}),
    "target chained": ("target_chained", lambda: alone(replica_node(R, link={"master": S})), {"target": R}),
    "target loading": ("target_loading", lambda: alone(replica_node(R, info={"loading": "1"})), {"target": R}),
    "target syncing": (
        "target_syncing",
        lambda: alone(replica_node(R, link={"sync_in_progress": True})),
        {"target": R},
    ),
    "target lagging": (
        "target_lagging",
        lambda: alone(replica_node(R, link={"applied_offset": 899})),
        {"target": R, "max_lag_bytes": 100},
    ),
    "nobody fit": ("no_suitable_replica", lambda: alone(replica_node(R, link={"link_up": False})), {}),
    "FAILOVER not permitted": (
        "sentinel_not_permitted",
        lambda: views(lambda view: replace(view, failover_refused="NOPERM no")),
        {},
    ),
    "master unreachable": ("node_unreachable", lambda: nodes(gone(OM)), {}),
    "master refuses the login": ("node_auth", lambda: nodes(gone(OM, "auth")), {"strategy": "fenced"}),
    "TLS to the master": ("node_tls", lambda: nodes(gone(OM, "tls")), {"strategy": "fenced"}),
    "master does not permit INFO": (
        "node_not_permitted",
        lambda: nodes(gone(OM, "not_permitted")),
        {"strategy": "fenced"},
    ),
    "target unreachable": ("node_unreachable", lambda: nodes(gone(R)), {"target": R}),
    "steered sibling unreachable": ("node_unreachable", lambda: nodes(gone(S)), {"target": R, "strategy": "fenced"}),
    "PAUSE not permitted": (
        "node_not_permitted",
        lambda: nodes(master_node(refused={"CLIENT PAUSE": "NOPERM no permission"})),
        {},
    ),
    "REPLICAOF renamed": (
        "command_unavailable",
        lambda: nodes(master_node(refused={"REPLICAOF": "ERR unknown command"})),
        {},
    ),
    "MULTI not permitted": ("node_not_permitted", lambda: nodes(master_node(refused={"MULTI": "NOPERM no"})), {}),
    "CONFIG SET not permitted on a sibling": (
        "node_not_permitted",
        lambda: nodes(replica_node(S, refused={"CONFIG SET": "NOPERM no"})),
        {"target": R, "strategy": "fenced", "promotion": "sentinel"},
    ),
    "server too old": ("server_too_old", lambda: nodes(master_node(compatible_version=(5, 0, 14))), {}),
    "target too old": ("server_too_old", lambda: nodes(replica_node(R, compatible_version=(5, 0, 14))), {}),
    "FAILOVER under way on the node": (
        "node_failover_in_progress",
        lambda: nodes(master_node(link={"failover_state": "waiting-for-sync"})),
        {},
    ),
    "replica-read-only no": ("replica_writable", lambda: nodes(master_node(config={"replica-read-only": "no"})), {}),
    "two masters": ("two_masters", lambda: nodes(master_node(S)), {"strategy": "fenced"}),
    "master is a replica of nobody known": (
        "master_is_replica",
        lambda: nodes(replica_node(OM, role=Role("replica", 1, ELSEWHERE, "connected"))),
        {},
    ),
    "no masterauth": (
        "masterauth_missing",
        lambda: nodes(replica_node(R, password_set=True), replica_node(S, password_set=True)),
        {},
    ),
    "COORDINATED unknown": ("strategy_unavailable", snapshot, {"strategy": "coordinated"}),
    "target cannot be steered": (
        "target_not_steerable",
        lambda: nodes(gone(S)),
        {"target": R, "strategy": "plain"},
    ),
}


@pytest.mark.parametrize("row", REFUSALS)
def test_refused(row: str) -> None:
    code, seen, request = REFUSALS[row]
    error = refusal(seen(), **request)
    assert error.code == code
    assert error.outcome == "refused"
    assert error.message
    assert error.remedy
    assert error.seen["reasons"][0]["name"] == code


@pytest.mark.parametrize("strategy", ["auto", "coordinated"])
@pytest.mark.parametrize(
    "row", ["replica-read-only no", "no masterauth", "FAILOVER under way on the node", "two masters"]
)
def test_what_no_demotion_survives_is_not_left_to_coordinated(row: str, strategy: str) -> None:
    code, broken, _request = REFUSALS[row]
    seen = broken()
    seen = replace(seen, sentinels=tuple(replace(view, coordinated=True) for view in seen.sentinels))
    assert refusal(seen, strategy=strategy).code == code


def test_who_one_sentinel_sees_down_may_be_chosen_by_another_and_is_steered() -> None:
    seen = one_view(replicas=(replica_entry(R), replica_entry(S, flags=frozenset({"slave", "s_down"}))))
    it = plan(seen, target=R)
    assert [steer.address for steer in it.steering] == [S]
    assert (it.siblings, it.lagging) == ((), (S,))


def test_every_reason_is_named_at_once() -> None:
    error = refusal(one_view(tilt=True, quorum_ok=False, quorum_detail="NOQUORUM 1 usable"))
    assert [reason["name"] for reason in error.seen["reasons"]] == ["tilt", "no_quorum"]
    assert "TILT" in error.message
    assert "NOQUORUM" in error.message


def test_without_a_lossless_way_it_says_so_besides() -> None:
    error = refusal(nodes(gone(OM)))
    assert "no_lossless_way" in {reason["name"] for reason in error.seen["reasons"]}


# ---- move ----------------------------------------------------------------------------------------------------------


def test_a_healthy_deployment_is_moved_fenced() -> None:
    it = plan()
    assert (it.action, it.strategy, it.old_master, it.new_master) == ("move", "fenced", OM, R)
    assert (it.siblings, it.others, it.lagging) == ((S,), (S,), ())
    assert (it.fence, it.steering, it.repairs) == ("pause", (), ())
    assert it.as_result()["expected_write_stop_ms"] <= 20
    assert [step for step in it.as_result()["steps"] if "pause writes" in step]


@pytest.mark.parametrize(
    ("strategy", "seen", "expected"),
    [
        ("auto", snapshot, "fenced"),
        ("fenced", snapshot, "fenced"),
        ("plain", snapshot, "plain"),
        ("coordinated", lambda: views(lambda v: replace(v, coordinated=True)), "coordinated"),
        (
            "auto",
            lambda: replace(views(lambda v: replace(v, coordinated=True)), nodes=(gone(OM), gone(R))),
            "coordinated",
        ),
        ("auto", lambda: views(lambda v: replace(v, coordinated=True)), "fenced"),
        (
            "auto",
            lambda: replace(
                views(lambda v: replace(v, master=master_entry(flags=DOWN))),
                nodes=(gone(OM), replica_node(R), replica_node(S)),
            ),
            "plain",
        ),
        (
            "auto",
            lambda: replace(
                views(lambda v: replace(v, master=master_entry(flags=DOWN), coordinated=True)),
                nodes=(gone(OM), replica_node(R), replica_node(S)),
            ),
            "plain",
        ),
    ],
)
def test_the_strategy(strategy: str, seen: Callable[[], Snapshot], expected: str) -> None:
    it = plan(seen(), strategy=strategy, accept_loss=strategy == "plain")
    assert (it.action, it.strategy) == ("move", expected)
    if expected != "fenced":
        assert it.fence == ""


def test_a_master_that_only_some_call_down_is_not_moved_plainly() -> None:
    seen = snapshot(
        [sentinel_view(L0), sentinel_view(L1), sentinel_view(L2, master=master_entry(flags=DOWN))],
        nodes=[gone(OM), replica_node(R)],
    )
    assert refusal(seen).code == "master_seen"


def heard(ms: int, node: NodeView | None = None) -> Snapshot:
    """A master that cannot be asked from here, and that the Sentinels heard some milliseconds ago."""
    seen = views(lambda view: replace(view, master=master_entry(last_ok_ping_ms=ms)))
    return replace(seen, nodes=(node or gone(OM), replica_node(R), replica_node(S)))


def test_a_master_that_is_up_is_moved_plainly_only_where_loss_is_accepted() -> None:
    error = refusal(snapshot(), strategy="plain", expected_master=OM)
    assert error.code == "loss_not_accepted"
    assert "accept_loss" in error.remedy
    assert refusal(heard(9000, gone(OM, "auth")), strategy="plain", expected_master=OM).code == "loss_not_accepted"
    assert plan(strategy="plain", accept_loss=True).strategy == "plain"


@pytest.mark.parametrize(
    ("ms", "expected", "allowed"), [(3000, OM, True), (2999, OM, False), (9000, None, False), (0, OM, False)]
)
def test_a_master_that_is_dead_beyond_doubt_is_moved_plainly_where_it_is_expected(
    ms: int, expected: Address | None, allowed: bool
) -> None:
    if allowed:
        assert plan(heard(ms), strategy="plain", expected_master=expected).strategy == "plain"
    else:
        error = refusal(heard(ms), strategy="plain", expected_master=expected)
        assert error.code == "master_not_down"
        assert "by itself within some seconds" in error.remedy


@pytest.mark.parametrize("avoid", [("10.9.9.9",), ("nobody", "10.0.0.99")])
def test_hosts_that_carry_no_server_of_ours_are_refused_with_those_that_do(avoid: tuple[str, ...]) -> None:
    error = refusal(snapshot(), avoid=avoid)
    assert error.code == "avoid_unknown"
    assert "10.0.0.1, 10.0.0.2, 10.0.0.3" in error.message


def test_of_all_addresses_of_a_host_one_must_fit() -> None:
    assert plan(avoid=("192.0.2.7", OM.host, "fe80::1")).action == "move"
    assert plan(avoid=("192.0.2.7", S.host)).action == "nothing"


def test_plain_is_said_to_lose_writes() -> None:
    assert any("lost" in note for note in plan(strategy="plain", accept_loss=True).notes)


@pytest.mark.parametrize(("write_pause", "fence"), [(True, "pause"), (False, "min_replicas")])
def test_the_kind_of_fence(write_pause: bool, fence: str) -> None:
    assert plan(nodes(master_node(write_pause=write_pause))).fence == fence


@pytest.mark.parametrize("write_pause", [True, False])
def test_only_what_its_fence_needs_must_be_permitted(write_pause: bool) -> None:
    refused = {"CONFIG SET": "NOPERM"} if write_pause else {"CLIENT PAUSE": "NOPERM", "CLIENT UNPAUSE": "NOPERM"}
    assert plan(nodes(master_node(write_pause=write_pause, refused=refused))).strategy == "fenced"
    other = {"CLIENT UNPAUSE": "NOPERM"} if write_pause else {"CONFIG SET": "NOPERM"}
    assert refusal(nodes(master_node(write_pause=write_pause, refused=other))).code == "node_not_permitted"


@pytest.mark.parametrize(
    ("down_after_ms", "catch_up_s", "lease_ms", "budget_ms"),
    [
        (1000, 1.0, 250, 500),
        (1000, 0.2, 250, 200),
        (2000, 1.0, 500, 1000),
        (5000, 1.0, 1250, 1000),
        (5000, 60.0, 1250, 2500),
        (8000, 1.0, 2000, 1000),
        (30000, 1.0, 2000, 1000),
        (60000, 60.0, 2000, 30000),
    ],
)
def test_lease_and_budget(down_after_ms: int, catch_up_s: float, lease_ms: int, budget_ms: int) -> None:
    seen = views(lambda view: replace(view, master=master_entry(down_after_ms=down_after_ms)))
    it = plan(seen, catch_up_timeout_s=catch_up_s)
    assert (it.lease_ms, it.fence_budget_ms) == (lease_ms, budget_ms)


def test_the_smallest_down_after_of_all_counts() -> None:
    assert plan(one_view(master=master_entry(down_after_ms=1000))).lease_ms == 250


# ---- who is promoted, who is steered -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priorities", "request_of", "chosen", "steered"),
    [
        ({R: 100, S: 100}, {}, R, ()),
        ({R: 50, S: 100}, {}, R, ()),
        ({R: 100, S: 50}, {}, S, ()),
        ({R: 100, S: 50}, {"target": R}, R, (Steering(S, 50),)),
        ({R: 100, S: 100}, {"target": S}, S, (Steering(R, 100),)),
        ({R: 50, S: 100}, {"target": R}, R, ()),
        ({R: 100, S: 0}, {"target": R}, R, ()),
        ({R: 100, S: 0}, {}, R, ()),
        ({R: 0, S: 100}, {}, S, ()),
        ({R: 50, S: 100}, {"avoid": (OM.host, R.host)}, S, (Steering(R, 50),)),
        ({R: 100, S: 100}, {"avoid": (OM.host,)}, R, (Steering(S, 100),)),
        ({R: 100, S: 100 + STEERING}, {"target": R}, R, (Steering(S, 100),)),
    ],
)
def test_choice_and_steering_where_sentinel_promotes(
    priorities: dict[Address, int], request_of: dict[str, Any], chosen: Address, steered: tuple[Steering, ...]
) -> None:
    seen = views(
        lambda view: replace(view, replicas=tuple(replica_entry(a, priority=p) for a, p in priorities.items()))
    )
    seen = replace(seen, nodes=(master_node(), *(replica_node(a, link={"priority": p}) for a, p in priorities.items())))
    it = plan(seen, promotion="sentinel", **request_of)
    assert (it.new_master, it.steering) == (chosen, steered)
    for steer in it.steering:
        assert steer.raised - STEERING == steer.priority
    # The program promotes the chosen one itself, and the leading Sentinel gives in, whichever it had chosen.
    it = plan(seen, **request_of)
    assert (it.new_master, it.steering, it.any_candidate) == (chosen, (), True)


def test_a_lagging_sibling_is_steered_and_not_waited_for() -> None:
    it = plan(nodes(replica_node(S, link={"applied_offset": 0})), target=R, max_lag_bytes=100)
    assert (it.siblings, it.lagging, it.steering) == ((), (S,), (Steering(S, 100),))
    assert any(str(S) in note for note in it.notes)


def test_a_sibling_that_sentinel_would_not_choose_is_left_alone() -> None:
    seen = views(
        lambda view: replace(view, replicas=(replica_entry(R), replica_entry(S, flags=frozenset({"slave", "s_down"}))))
    )
    it = plan(seen, target=R)
    assert (it.siblings, it.lagging, it.steering, it.others) == ((), (), (), (S,))


def test_of_several_the_one_that_sentinel_prefers() -> None:
    replicas = (
        replica_entry(R, run_id="b" * 40),
        replica_entry(S, run_id="A" * 40),
        replica_entry(S2, run_id="c" * 40),
    )
    seen = replace(views(lambda view: replace(view, replicas=replicas)), nodes=(*snapshot().nodes, replica_node(S2)))
    it = plan(seen)
    assert it.new_master == S
    assert it.siblings == (R, S2)


def mixed(**versions: tuple[int, int, int]) -> Snapshot:
    """R, which Sentinel would choose, and S, each with a version (product and all); the master runs Redis 7.0.15."""
    nodes = [replica_node(address, version=versions[name]) for name, address in (("r", R), ("s", S))]
    return snapshot(nodes=(master_node(), *nodes))


@pytest.mark.parametrize(
    ("r", "s", "chosen"),
    [
        ((8, 2, 3), (7, 0, 2), S),
        ((8, 2, 3), (6, 2, 5), R),
        ((6, 2, 5), (8, 2, 3), S),
        ((7, 0, 2), (8, 2, 3), R),
        ((8, 2, 3), (8, 0, 2), R),
    ],
    ids=["own before newer", "newer before older", "older after newer", "own stays", "both newer"],
)
def test_of_equal_priorities_the_version_that_suits_the_others(
    r: tuple[int, int, int], s: tuple[int, int, int], chosen: Address
) -> None:
    it = plan(mixed(r=r, s=s))
    assert it.new_master == chosen
    by_sentinel = plan(mixed(r=r, s=s), promotion="sentinel")
    assert [steer.address for steer in by_sentinel.steering] == ([R] if chosen == S else []), "Sentinel prefers R"
    told = [note for note in it.notes if "for its version" in note]
    assert bool(told) == (chosen == S)
    if told:
        assert told[0].startswith(f"{S} is preferred to {R} for its version: redis {'.'.join(map(str, s))}, not redis")


def test_an_explicit_priority_goes_before_the_version() -> None:
    nodes = (master_node(), replica_node(R, version=(8, 2, 3), link={"priority": 10}), replica_node(S))
    assert plan(snapshot(nodes=nodes)).new_master == R


def test_the_target_that_was_named_goes_before_the_version() -> None:
    it = plan(mixed(r=(8, 2, 3), s=(7, 0, 15)), target=R)
    assert it.new_master == R
    assert not any("for its version" in note for note in it.notes)


# ---- who leads -----------------------------------------------------------------------------------------------------


def test_the_first_sentinel_given_leads_where_the_program_promotes_and_last_where_sentinel_does() -> None:
    """The one that leads hears of the promotion first; where it promotes itself, it shows the old master for longer than the others."""
    assert plan().leaders == (L0, L1, L2)
    assert plan(promotion="sentinel").leaders == (L1, L2, L0)
    assert plan(strategy="plain", accept_loss=True).leaders == (L1, L2, L0)


@pytest.mark.parametrize(
    "unfit",
    [
        {"failover_refused": "NOPERM no"},
        {"replicas": (replica_entry(S),)},
        {"peers": (peer_entry(L0, flags=frozenset({"sentinel", "s_down"})), peer_entry(L1))},
    ],
)
def test_an_unfit_sentinel_does_not_lead(unfit: dict[str, Any]) -> None:
    # Sentinels that do not reach each other are accepted only where losing writes is.
    it = plan(one_view(**unfit), strategy="plain", accept_loss=True)
    assert (it.new_master, it.leaders) == (R, (L1, L0))


def test_the_first_leads_where_no_other_is_fit() -> None:
    seen = snapshot([sentinel_view(L0), *(sentinel_view(a, failover_refused="NOPERM no") for a in (L1, L2))])
    assert plan(seen).leaders == plan(seen, promotion="sentinel").leaders == (L0,)


def test_with_one_sentinel_down_the_others_lead_on_request() -> None:
    down = peer_entry(L2, flags=frozenset({"sentinel", "s_down"}))
    seen = snapshot(
        [
            sentinel_view(L0, peers=(peer_entry(L1), down)),
            sentinel_view(L1, peers=(peer_entry(L0), down)),
            SentinelView(L2, error="Connection refused", error_code="unreachable"),
        ]
    )
    it = plan(seen, min_sentinels=2)
    assert it.leaders == (L0, L1)
    assert any(str(L2) in note for note in it.notes)
    assert refusal(seen, min_sentinels=3).code == "sentinels_missing"


# ---- nothing, repair, join, finish ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_of", "action"),
    [
        ({"target": OM}, "nothing"),
        ({"target": OM, "expected_master": R}, "nothing"),
        ({"avoid": (R.host,)}, "nothing"),
        ({"avoid": (OM.host,)}, "move"),
        ({"expected_master": OM}, "move"),
        ({"target": R, "expected_master": OM, "avoid": (OM.host,)}, "move"),
        ({"target": R, "avoid": (S.host,)}, "nothing"),
    ],
)
def test_combinations(request_of: dict[str, Any], action: str) -> None:
    it = plan(**request_of)
    assert it.action == action
    if action == "nothing":
        assert it.notes
        assert it.as_result()["steps"] == []


def test_hosts_by_name() -> None:
    seen = snapshot(hosts={"db1": OM.host, "db2": R.host})
    assert plan(seen, avoid=("db2",)).action == "nothing"
    it = plan(seen, avoid=("db1", "db2"))
    assert (it.action, it.new_master) == ("move", S)


def test_addresses_by_name() -> None:
    name = Address("db2", 6379)
    seen = snapshot(identities={name: R})
    assert plan(seen, target=name).new_master == R
    assert plan(snapshot(identities={name: OM}), expected_master=name).action == "move"


STEERED = replica_node(S, config={"replica-priority": str(STEERING + 100)}, link={"priority": STEERING + 100})
FENCED = master_node(config={"min-replicas-to-write": "2000000001", "min-replicas-max-lag": "1000000010"})


def test_leftover_steering_is_put_back_and_nothing_moved() -> None:
    it = plan(nodes(STEERED))
    assert it.action == "repair"
    assert [str(repair) for repair in it.repairs] == [f"put back on {S}: replica-priority 100"]


@pytest.mark.parametrize("request_of", [{"target": R}, {"avoid": (OM.host,)}, {"expected_master": OM}])
def test_leftover_steering_is_put_back_on_the_way(request_of: dict[str, Any]) -> None:
    it = plan(nodes(STEERED), **request_of)
    assert it.action == "move"
    assert it.repairs
    assert it.as_result()["steps"][0] == f"put back on {S}: replica-priority 100"


def test_leftover_fence_shows_that_nothing_was_moved() -> None:
    it = plan(nodes(FENCED))
    assert it.action == "move"
    assert [str(repair) for repair in it.repairs] == [
        f"put back on {OM}: min-replicas-to-write 1, min-replicas-max-lag 10"
    ]


def test_a_failover_in_progress_is_joined() -> None:
    busy = master_entry(flags=frozenset({"master", "failover_in_progress"}), failover_state="wait_promotion")
    it = plan(one_view(master=busy), target=S)
    assert (it.action, it.leaders, it.old_master) == ("join", (L2,), OM)
    assert "wait_promotion" in it.notes[0]


DEMOTED = replica_node(OM, role=Role("replica", 1000, R, "connect"), link={"master": R, "link_up": False})


def test_what_a_killed_run_had_demoted_is_finished() -> None:
    it = plan(nodes(DEMOTED))
    assert (it.action, it.strategy, it.old_master, it.new_master) == ("finish", "fenced", OM, R)
    assert (it.others, it.leaders) == ((S,), (L0, L1, L2))


def test_it_is_finished_whatever_else_is_asked_for() -> None:
    assert plan(nodes(DEMOTED), target=S).new_master == R
    assert plan(nodes(DEMOTED), expected_master=OM).action == "finish"


def test_another_master_than_the_expected_one_is_not_finished() -> None:
    refused = refusal(nodes(DEMOTED), expected_master=S)
    assert (refused.code, f"expected_master={OM}" in refused.remedy) == ("expected_master_mismatch", True)
    assert refusal(nodes(DEMOTED), expected_master=S, target=S).code == "expected_master_mismatch"
    assert refusal(nodes(DEMOTED), expected_master=S, avoid=(R.host,)).code == "expected_master_mismatch"


@pytest.mark.parametrize("request_of", [{"target": R}, {"avoid": (OM.host,)}], ids=["target", "avoid"])
def test_what_leads_where_it_is_asked_for_is_finished_wherever_it_began(request_of: dict[str, Any]) -> None:
    assert plan(nodes(DEMOTED), expected_master=S, **request_of).action == "finish"


def test_it_is_finished_also_where_the_replica_is_a_master_already() -> None:
    assert plan(nodes(DEMOTED, master_node(R))).action == "finish"


def test_it_is_not_finished_where_the_replica_follows_another() -> None:
    heir = replica_node(R, role=Role("replica", 1, ELSEWHERE, "connected"))
    assert refusal(nodes(DEMOTED, heir)).code == "master_is_replica"
    assert refusal(nodes(DEMOTED, gone(R))).code == "master_is_replica"


@pytest.mark.parametrize("request_of", [{"target": OM}, {"avoid": (R.host,)}, {}], ids=["target", "avoid", "repair"])
def test_a_named_master_that_is_a_replica_is_not_left_as_it_is(request_of: dict[str, Any]) -> None:
    seen = nodes(DEMOTED, gone(R), STEERED)
    assert refusal(seen, **request_of).code == "master_is_replica"


def test_a_named_master_that_cannot_be_asked_stays_where_it_was_to_be() -> None:
    assert plan(nodes(gone(OM)), target=OM).action == "nothing"


def test_what_is_probed_can_do_no_harm_by_itself() -> None:
    for name, command in PROBED_COMMANDS.items():
        assert " ".join(map(str, command)).startswith(name)


@pytest.mark.parametrize("strategy", ["plain", "coordinated"])
def test_a_replica_on_a_host_to_leave_is_steered_away_from_also_without_a_fence(strategy: str) -> None:
    """Sentinel chooses by itself: avoided, R stands first in its order."""
    replicas = (replica_entry(R, priority=50), replica_entry(S))
    seen = views(lambda view: replace(view, replicas=replicas, coordinated=True))
    seen = replace(seen, nodes=(master_node(), replica_node(R, link={"priority": 50}), replica_node(S)))
    it = plan(seen, strategy=strategy, accept_loss=True, avoid=(OM.host, R.host))
    assert it.new_master == S
    assert it.steering == (Steering(R, 50),)


def test_a_replica_that_would_refuse_writes_is_not_chosen() -> None:
    greedy = {"replica-priority": "100", "min-replicas-to-write": "3", "min-replicas-max-lag": "10"}
    seen = nodes(replica_node(R, config=greedy))
    assert plan(seen).new_master == S
    assert refusal(seen, target=R).code == "min_replicas"


@pytest.mark.parametrize(
    ("used", "expected"), [("58", None), ("59", "node_clients"), ("60", "node_clients"), ("", None)]
)
def test_a_run_needs_connections(used: str, expected: str | None) -> None:
    full = master_node(info={"loading": "0", "maxclients": "60", "connected_clients": used})
    if expected is None:
        assert plan(nodes(full)).strategy == "fenced"
    else:
        refused = refusal(nodes(full))
        assert refused.code == expected
        assert "up to 3 at a time" in refused.remedy
