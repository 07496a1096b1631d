# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is who: what belongs to a deployment, by history and run id, and what only seems to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import check_foreign_nodes, check_other_names
from ansible_collections.redis_ha.sentinel.plugins.module_utils._decide import decide
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import (
    OtherName,
    foreign_nodes,
    one_server_once,
    other_names,
    twins,
    unexplained_watchers,
    unlisted_replicas,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    AttachedReplica,
    Hello,
    parse_hello,
    parse_watchers,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, Snapshot
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
from unit.situations import unreachable, views, with_view

ELSEWHERE = Address("10.0.9.9", 6379)
A, B, C, F = "a" * 40, "b" * 40, "c" * 40, "f" * 40
DATA = {"loading": "0", "db0": "keys=3,expires=0,avg_ttl=0"}
EMPTY = {"loading": "0"}
ATTACHED = (AttachedReplica(ELSEWHERE, "online", 1, 0),)


def table(*changed: NodeView, **fields: Any) -> Snapshot:
    """Three healthy nodes and what the Sentinels list besides; S2 is the one in question."""
    known = {node.address: node for node in (master_node(), replica_node(R), replica_node(S), *changed)}
    rows = tuple(replica_entry(address) for address in known if address != OM)
    return snapshot(views(replicas=rows), known.values(), **fields)


def replica(link: dict[str, Any], info: dict[str, str] | None = None, **changes: Any) -> NodeView:
    return replica_node(S2, link=link, info=DATA if info is None else info, **changes)


def master(link: dict[str, Any], info: dict[str, str] | None = None) -> NodeView:
    return master_node(S2, link=link, info=DATA if info is None else info)


AFTER_ONE_FAILOVER = master_node(link={"replid": B, "replid2": A, "second_offset": 901})


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([replica({})], id="a replica"),
        pytest.param(
            [replica({"replid": F, "sync_in_progress": True, "link_up": False})], id="it synchronises in full"
        ),
        pytest.param([replica({"replid": F, "link_up": False})], id="it was restarted, and its link is down"),
        pytest.param([replica({"master": S})], id="a chained replica"),
        pytest.param([replica({"master": S, "replid": F, "link_up": False})], id="a chained replica without a link"),
        pytest.param(
            [replica({"master": ELSEWHERE})], id="it follows what the Sentinels do not know, with our history"
        ),
        pytest.param([AFTER_ONE_FAILOVER, master({"replid": A})], id="the old master came back"),
        pytest.param(
            [AFTER_ONE_FAILOVER, replica({"replid": A, "link_up": False, "master": ELSEWHERE})], id="left behind"
        ),
        pytest.param([master({"replid": F}, EMPTY)], id="a node that was started without its role, and empty"),
        pytest.param([replica({"replid": F, "link_up": False, "master": ELSEWHERE}, EMPTY)], id="empty and cut off"),
        pytest.param([replica({"replid": F, "master": ELSEWHERE}, {"loading": "1"})], id="it loads its data"),
        pytest.param([unreachable(S2)], id="it cannot be asked"),
        pytest.param([unreachable(OM), replica({"replid": F})], id="the master cannot be asked, it follows it"),
        pytest.param(
            [unreachable(OM), replica({"master": ELSEWHERE})], id="the master cannot be asked, it has the history"
        ),
        pytest.param(
            [unreachable(OM), unreachable(R), unreachable(S), replica({"master": ELSEWHERE})], id="nobody can be"
        ),
    ],
)
def test_what_is_ours(nodes: list[NodeView]) -> None:
    assert foreign_nodes(table(*nodes)) == ()


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([replica({"replid": F, "master": ELSEWHERE})], id="a replica of somebody else"),
        pytest.param([replica({"replid": F, "master": ELSEWHERE}, EMPTY)], id="without data"),
        pytest.param([replica({"replid": F, "master": ELSEWHERE, "link_up": False})], id="whose link is down"),
        pytest.param([master({"replid": F})], id="a master"),
        pytest.param([master({"replid": F, "attached": ATTACHED}, EMPTY)], id="a master without data, with a replica"),
        pytest.param([master({"replid": F, "replid2": A})], id="a copy of ours that went its own way"),
        pytest.param([replica({"replid": F, "replid2": A, "master": ELSEWHERE})], id="a replica of such a copy"),
        pytest.param(
            [AFTER_ONE_FAILOVER, replica({"replid": A, "master": ELSEWHERE})],
            id="a replica of what ours was copied from",
        ),
        pytest.param([unreachable(OM), replica({"replid": F, "master": ELSEWHERE})], id="the master cannot be asked"),
    ],
)
def test_what_is_foreign(nodes: list[NodeView]) -> None:
    seen = table(*nodes)
    assert [node.address for node in foreign_nodes(seen)] == [S2]
    for strategy in ("auto", "plain", "coordinated"):
        with pytest.raises(RefusedError) as refused:
            decide(seen, Request(NAME, strategy=strategy))
        assert refused.value.code == "foreign_node"


@pytest.mark.parametrize(
    ("row", "foreign"),
    [
        ({"master": ELSEWHERE}, True),
        ({"master": ELSEWHERE, "link_up": False}, False),
        ({"master": ELSEWHERE, "flags": frozenset({"slave", "s_down"})}, False),
        ({"master": S}, False),
        ({"master": Address("", 0)}, False),
    ],
    ids=["in step", "without a link", "down", "chained", "not known"],
)
def test_of_a_node_that_cannot_be_asked_the_sentinels_tell_whom_it_follows(row: dict[str, Any], foreign: bool) -> None:
    rows = (replica_entry(R), replica_entry(S), replica_entry(S2, **row))
    seen = snapshot(views(replicas=rows), [master_node(), replica_node(R), replica_node(S), unreachable(S2)])
    assert [node.address for node in foreign_nodes(seen)] == ([S2] if foreign else [])
    assert bool(check_foreign_nodes(seen)[0].remedy) == foreign


def test_nothing_that_a_foreign_node_says_is_taken_for_ours() -> None:
    """A run that moves the other deployment has raised its priority."""
    node = replica({"replid": F, "master": ELSEWHERE, "priority": 1_000_000_100})
    plan = decide(table(node), Request(NAME, target=OM))
    assert (plan.action, plan.repairs) == ("nothing", ())


# ---- names and Sentinels -----------------------------------------------------------------------------------------------

OURS = master_entry(run_id="1" * 40)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (master_entry(name="other", run_id="1" * 40, address=ELSEWHERE), OM),
        (master_entry(name="other", run_id=""), OM),
        (master_entry(name="other", run_id="2" * 40, address=R), R),
        (master_entry(name="other", run_id="9" * 40, address=ELSEWHERE), None),
    ],
    ids=["by run id", "by address", "a replica", "somebody else's"],
)
def test_another_name(other: Any, expected: Address | None) -> None:
    seen = snapshot(with_view(0, masters=(OURS, other)))
    found = other_names(seen)
    assert found == ([OtherName("other", str(L0), expected)] if expected else [])
    if expected:
        with pytest.raises(RefusedError) as refused:
            decide(seen, Request(NAME))
        assert refused.value.code == "other_names"


@pytest.mark.parametrize(
    ("other", "advised"),
    [
        (master_entry(name="other", address=R, known_replicas=2), True),
        (master_entry(name="other", address=R, known_replicas=0), False),
        (master_entry(name="other", address=OM, known_replicas=2), False),
    ],
    ids=["left behind by a failover", "set up with a replica", "beside it"],
)
def test_a_name_that_was_left_behind_is_finished_first(other: Any, advised: bool) -> None:
    (found,) = check_other_names(snapshot(with_view(0, masters=(OURS, other))))
    assert ("master_name=other" in found.remedy) is advised


IDS = {L0: "a0" * 20, L1: "b1" * 20, L2: "c2" * 20}
STRANGER = "d3" * 20


def watched(watchers: dict[str, int], hellos: tuple[Hello, ...] | None = None, told: bool = True) -> Snapshot:
    """The master shows these Sentinels, by run id; `told` whether ours tell their own."""
    sentinels = [
        sentinel_view(
            address,
            run_id=run_id if told else "",
            peers=tuple(peer_entry(other, run_id=IDS[other]) for other in IDS if other != address),
        )
        for address, run_id in IDS.items()
    ]
    shown = {run_id[:8]: count for run_id, count in watchers.items()}
    seen = snapshot(sentinels, [master_node(watchers=shown), replica_node(R), replica_node(S)])
    return seen if hellos is None else replace(seen, hellos={OM: hellos})


ALL = dict.fromkeys(IDS.values(), 1)


@pytest.mark.parametrize("told", [True, False], ids=["6.2", "6.0"])
def test_sentinels_that_are_known_raise_no_suspicion(told: bool) -> None:
    assert unexplained_watchers(watched(ALL, told=told)) == {}
    assert other_names(watched(ALL, told=told)) == []


def test_the_only_sentinel_of_6_0_tells_its_run_id_to_nobody() -> None:
    only = sentinel_view(L0, run_id="", peers=())
    shown = snapshot([only], [master_node(watchers={"a0a0a0a0": 1}), replica_node(R), replica_node(S)])
    assert unexplained_watchers(shown) == {}
    two = snapshot([only], [master_node(watchers={"a0a0a0a0": 1, "d3d3d3d3": 1}), replica_node(R), replica_node(S)])
    assert set(unexplained_watchers(two)[OM]) == {"a0a0a0a0", "d3d3d3d3"}


@pytest.mark.parametrize(
    ("watchers", "hellos", "expected"),
    [
        ({**ALL, STRANGER: 1}, None, [OtherName("", "d3d3d3d3...", OM)]),
        ({**ALL, STRANGER: 1}, (Hello(ELSEWHERE, STRANGER, "legacy", OM),), [OtherName("legacy", str(ELSEWHERE), OM)]),
        ({**ALL, STRANGER: 1}, (Hello(ELSEWHERE, STRANGER, NAME, OM),), [OtherName(NAME, str(ELSEWHERE), OM)]),
        ({**ALL, STRANGER: 1}, (Hello(L0, IDS[L0], NAME, OM),), []),
        ({**ALL, IDS[L1]: 2}, (Hello(L1, IDS[L1], "other", OM),), [OtherName("other", str(L1), OM)]),
        ({**ALL, IDS[L1]: 2}, (Hello(L1, IDS[L1], NAME, OM),), []),
    ],
    ids=[
        "not heard",
        "another name",
        "the same name",
        "a dead connection",
        "one of ours, twice",
        "twice, and one is dead",
    ],
)
def test_a_node_shows_who_watches_it(
    watchers: dict[str, int], hellos: tuple[Hello, ...] | None, expected: list[OtherName]
) -> None:
    assert other_names(watched(watchers, hellos)) == expected


@pytest.mark.parametrize(("count", "suspicious"), [(2, False), (3, True)])
def test_names_that_a_sentinel_tells_explain_its_connections(count: int, suspicious: bool) -> None:
    """Nobody listens for a name that is known already."""
    seen = watched({**ALL, IDS[L1]: count})
    telling = [
        replace(view, masters=(OURS, replace(OURS, name="other"))) if view.address == L1 else view
        for view in seen.sentinels
    ]
    assert bool(unexplained_watchers(replace(seen, sentinels=tuple(telling)))) is suspicious


@pytest.mark.parametrize(("count", "suspicious"), [(2, False), (3, True)])
def test_a_server_that_is_listed_twice_is_watched_twice(count: int, suspicious: bool) -> None:
    second = replica_entry(ELSEWHERE, run_id="2" * 40)
    seen = watched(ALL)
    listed = [
        replace(view, replicas=(replica_entry(R, run_id="2" * 40), second, replica_entry(S))) for view in seen.sentinels
    ]
    nodes = [
        master_node(watchers=None),
        replica_node(R, run_id="2" * 40, watchers={IDS[L1][:8]: count}),
        replica_node(S),
    ]
    assert bool(unexplained_watchers(snapshot(listed, nodes))) is suspicious


def test_connections_and_hellos_are_read() -> None:
    lines = "".join(
        f"id={number} addr=10.0.0.1:1 name={name} flags=P cmd=subscribe\n"
        for number, name in enumerate(
            ["sentinel-a0a0a0a0-pubsub", "sentinel-a0a0a0a0-pubsub", "sentinel-b1b1b1b1-cmd", ""]
        )
    )
    assert parse_watchers(lines) == {"a0a0a0a0": 2}
    assert parse_hello(f"10.0.9.9,26379,{STRANGER},7,legacy,10.0.0.1,6379,3") == Hello(
        Address("10.0.9.9", 26379), STRANGER, "legacy", OM
    )
    assert parse_hello("x") is None


# ---- hidden replicas ---------------------------------------------------------------------------------------------------


def hidden(node: NodeView) -> Snapshot:
    """R, S are listed; S2 is attached, and no Sentinel shows it."""
    link = {"attached": tuple(AttachedReplica(address, "online", 1000, 0) for address in (R, S, S2))}
    return snapshot(nodes=[master_node(link=link), replica_node(R), replica_node(S), node])


@pytest.mark.parametrize("priority", [10, 100, 500])
def test_a_hidden_replica_in_step_is_waited_for_and_never_steered(priority: int) -> None:
    plan = decide(hidden(replica_node(S2, link={"priority": priority})), Request(NAME))
    assert plan.new_master in (R, S)
    assert S2 in plan.siblings
    assert S2 in plan.others
    assert S2 not in [steering.address for steering in plan.steering]


@pytest.mark.parametrize(
    "node",
    [unreachable(S2), replica_node(S2, link={"link_up": False}), replica_node(S2, link={"sync_in_progress": True})],
    ids=["cannot be asked", "link down", "synchronises"],
)
def test_a_hidden_replica_that_is_behind_is_a_reason_to_refuse(node: NodeView) -> None:
    with pytest.raises(RefusedError) as refused:
        decide(hidden(node), Request(NAME))
    assert refused.value.code == "hidden_replica"


@pytest.mark.parametrize("node", [replica_node(S2), replica_node(S2, link={"sync_in_progress": True})])
def test_a_hidden_replica_cannot_be_the_target(node: NodeView) -> None:
    with pytest.raises(RefusedError) as refused:
        decide(hidden(node), Request(NAME, target=S2))
    assert refused.value.code == "hidden_replica"
    assert str(S2) in refused.value.message


def outcome(node: NodeView, **options: Any) -> Plan | str:
    try:
        return decide(hidden(node), Request(NAME, **{"promotion": "sentinel", **options}))
    except RefusedError as error:
        return error.code


@pytest.mark.parametrize(
    ("priority", "options", "expected"),
    [
        (10, {"avoid": (OM.host, S2.host)}, "hidden_replica"),
        (100, {"avoid": (OM.host, S2.host)}, "hidden_replica"),
        (500, {"avoid": (OM.host, S2.host)}, R),
        (0, {"avoid": (OM.host, S2.host)}, R),
        (10, {"avoid": (OM.host,)}, R),
        (10, {"target": S}, "hidden_replica"),
        (500, {"target": S}, S),
        # The program promotes the one that is wanted, and the leading Sentinel gives in, whichever it had chosen.
        (10, {"target": S, "promotion": "program"}, S),
        (10, {"avoid": (OM.host, S2.host), "promotion": "program"}, R),
    ],
)
def test_sentinel_must_not_choose_a_hidden_one_that_is_not_wanted(
    priority: int, options: dict[str, Any], expected: Address | str
) -> None:
    found = outcome(replica_node(S2, link={"priority": priority}), **options)
    assert (found.new_master if isinstance(found, Plan) else found) == expected


def test_one_that_is_listed_at_another_address_does_not_hide() -> None:
    assert unlisted_replicas(hidden(replica_node(S2, run_id="3" * 40))) == ()


# ---- one server, several addresses -------------------------------------------------------------------------------------


def test_equal_run_ids_are_one_server() -> None:
    second = replica_node(S2, run_id="2" * 40)
    nodes, merged = one_server_once([master_node(), replica_node(R), second, unreachable(S), unreachable(ELSEWHERE)])
    assert [node.address for node in nodes] == [OM, R, S, ELSEWHERE]
    assert merged == {S2: R}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (replica_entry(S2, run_id="2" * 40), [(R, S2)] * 3),
        (replica_entry(S2, run_id="0" * 40), [(OM, S2)] * 3),
        (replica_entry(S2, run_id="2" * 40, flags=frozenset({"slave", "s_down"})), []),
        (replica_entry(S2, run_id=""), []),
    ],
    ids=["a replica", "the master", "one address is dead", "never seen"],
)
def test_a_sentinel_takes_one_server_for_two(row: Any, expected: list[tuple[Address, ...]]) -> None:
    seen = snapshot(views(replicas=(replica_entry(R), replica_entry(S), row)))
    assert [found.addresses for found in twins(seen)] == expected
    if expected:
        with pytest.raises(RefusedError) as refused:
            decide(seen, Request(NAME))
        assert refused.value.code == "one_address"


def test_a_replica_that_the_master_shows_by_a_name_that_says_nothing_here_is_the_one_that_sentinel_shows() -> None:
    """Counted against those that Sentinel lists and that follow: one name more is a replica that hides."""
    called = [Address(f"redis-{number}", 6379) for number in (2, 3, 4)]

    def seen(names: list[Address]) -> Snapshot:
        rows = tuple(AttachedReplica(name, "online", 1000, 0) for name in names)
        nowhere = [NodeView(name, error="the name cannot be resolved", error_code="unreachable") for name in names]
        return snapshot(nodes=(master_node(link={"attached": rows}), replica_node(R), replica_node(S), *nowhere))

    assert unlisted_replicas(seen(called[:2])) == ()
    assert [node.address for node in unlisted_replicas(seen(called))] == called
