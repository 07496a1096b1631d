# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the nodes before the master is moved: a table, one row a finding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import PROBED_COMMANDS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health import examine
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_files import role_changers
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import AFTER, BEFORE, Situation
from unit.builders import OM, R, S, master_entry, master_node, replica_entry, replica_node
from unit.situations import Case, after, before, follower, new_master, nodes, nodes_after, unreachable, views

LEADING = master_entry(flags=frozenset({"master", "failover_in_progress"}), failover_state="wait_promotion")
OF_R, OF_S = "replica 10.0.0.2:6379", "replica 10.0.0.3:6379"
BOTH_FIT = (
    f"{OF_R} is fit: link up, 0 bytes behind, priority 100, seen by Sentinel 3000 ms ago or less",
    f"{OF_S} is fit: link up, 0 bytes behind, priority 100, seen by Sentinel 3000 ms ago or less",
)


def settings(**changes: str) -> dict[str, str]:
    """Settings of a node; names with underscores for hyphens."""
    plain = {"replica-priority": "100", "min-replicas-to-write": "0", "min-replicas-max-lag": "10", "maxmemory": "0"}
    return {**plain, **{name.replace("_", "-"): value for name, value in changes.items()}}


def unfit(id_: str, text: str, remedy: str, **fields: Any) -> Case:
    """R is not fit, for one reason; S is."""
    return Case(id_, "replica", before(**fields), "warning", (f"{OF_R} is not fit: {text}",), remedy)


def seen_by_sentinel(**changes: Any) -> dict[str, Any]:
    return {"sentinels": views(replicas=(replica_entry(R, **changes), replica_entry(S)))}


def said_by_itself(**changes: Any) -> dict[str, Any]:
    return {"nodes": nodes(replica_node(R, **changes))}


REPLICAS = [
    Case("both are fit", "replica", before(), "ok", BOTH_FIT, ""),
    unfit(
        "stopped",
        "Sentinel 10.0.0.1:26379 sees it down (s_down,slave); it cannot be asked: Connection refused",
        "Start it, or mend its network, and wait until Sentinel sees it again. Start it, or open the way to it; behind NAT or a container network set "
        "address_map.",
        sentinels=views(replicas=(replica_entry(R, flags=frozenset({"slave", "s_down"})), replica_entry(S))),
        nodes=nodes(unreachable(R)),
    ),
    unfit(
        "refuses our login",
        "it cannot be asked: it refuses the login",
        "Set redis_username and redis_password to a user that this server accepts, or leave them out where it wants none.",
        nodes=nodes(unreachable(R, "auth", "it refuses the login")),
    ),
    unfit(
        "of priority 0",
        "its replica-priority is 0: it is never to be promoted",
        "Set its replica-priority to more than 0, or name another target.",
        **seen_by_sentinel(priority=0),
    ),
    unfit(
        "without a link",
        "its link to the master is down",
        "Mend its replication: look at masterauth, the network and its log.",
        **said_by_itself(link={"link_up": False}),
    ),
    unfit(
        "without a link for long",
        "its link to the master has been down for 60000 ms",
        "Mend its replication: look at masterauth, the network and its log.",
        **seen_by_sentinel(link_up=False, link_down_ms=60_000),
    ),
    unfit(
        "chained",
        "it follows 10.0.0.3:6379, not the master",
        "Let it follow the master directly (Sentinel does so after failover-timeout), or name another target.",
        **said_by_itself(link={"master": S}),
    ),
    unfit(
        "lagging",
        "it is 20971520 bytes behind the master, 10485760 are allowed",
        "Wait until it has caught up, or raise max_lag_bytes.",
        nodes=nodes(master_node(link={"offset": 20_972_520}), replica_node(S, link={"applied_offset": 20_972_520})),
    ),
    unfit(
        "loading",
        "it is loading its data",
        "Wait until it has loaded its data.",
        **said_by_itself(info={"loading": "1"}),
    ),
    unfit(
        "synchronising",
        "it is in the middle of a full synchronisation",
        "Wait until its synchronisation has ended.",
        **said_by_itself(link={"sync_in_progress": True, "link_up": False}),
    ),
    unfit(
        "not heard of by Sentinel",
        "Sentinel 10.0.0.1:26379 had its last INFO 31000 ms ago",
        "Mend the network between Sentinel and this replica.",
        **seen_by_sentinel(info_age_ms=31_000),
    ),
    unfit(
        "not heard of for longer than is asked for",
        "a Sentinel had its last INFO 3000 ms ago",
        "Mend the network between Sentinel and this replica.",
        sentinels=views(replicas=(replica_entry(R), replica_entry(S, info_age_ms=1500))),
        thresholds={"max_info_age_s": 2.0},
    ),
    unfit(
        "not hearing from the master",
        "it has heard nothing from the master for 31 s",
        "Look at the network between it and the master, and at the master's load.",
        **said_by_itself(info={"loading": "0", "master_last_io_seconds_ago": "31"}),
    ),
    unfit(
        "paused",
        "writes are held on it: PUBLISH of sentinel-1-cmd waits",
        "CLIENT UNPAUSE on it, or wait until the pause ends by itself: as long as it lasts the replica applies nothing.",
        held={R: "PUBLISH of sentinel-1-cmd waits"},
    ),
    unfit(
        "too small",
        "its maxmemory is 1000 bytes, and the master uses 2000: it would evict or refuse; its maxmemory is 1000 bytes, the master's is not limited",
        "Raise its maxmemory to at least the master's. Set its maxmemory to the master's.",
        nodes=nodes(
            master_node(info={"used_memory": "2000"}, config=settings()),
            replica_node(R, config=settings(maxmemory="1000")),
        ),
    ),
    unfit(
        "a master itself",
        "it says that it is a master itself",
        "Look at the deployment with topology_info: two nodes say that they are masters.",
        **said_by_itself(link={"role": "master", "master": None}),
    ),
]


def reserved(id_: str, text: str, remedy: str, **fields: Any) -> Case:
    """R is fit, with something to know about it."""
    return Case(id_, "replica", before(**fields), "warning", (f"{OF_R} is fit, but: {text}",), remedy)


RESERVATIONS = [
    reserved(
        "writable",
        "it says replica-read-only no: it may hold what the master does not",
        "CONFIG SET replica-read-only yes on it, and see that nobody wrote to it.",
        **said_by_itself(link={"read_only": False}),
    ),
    reserved(
        "less memory",
        "its maxmemory is 1000 bytes, the master's is 2000",
        "Set its maxmemory to the master's.",
        nodes=nodes(
            master_node(info={"used_memory": "500"}, config=settings(maxmemory="2000")),
            replica_node(R, config=settings(maxmemory="1000")),
            replica_node(S, config=settings(maxmemory="2000")),
        ),
    ),
    reserved(
        "older",
        "it runs redis 6.2.5, the master redis 7.0.15",
        "Upgrade it first, or promote another one: replicas are upgraded before their master.",
        **said_by_itself(version=(6, 2, 5), compatible_version=(6, 2, 5)),
    ),
    reserved(
        "newer",
        "it runs valkey 9.1.2, the master redis 7.0.15",
        "Right while upgrading. Upgrade the others soon: they may be unable to read a full synchronisation of a newer version.",
        **said_by_itself(product="valkey", version=(9, 1, 2), compatible_version=(7, 2, 4)),
    ),
    reserved(
        "hidden from applications",
        "it says replica-announced no: applications do not see it",
        "CONFIG SET replica-announced yes on it, or set its replica-priority to 0.",
        **seen_by_sentinel(announced=False),
    ),
    reserved(
        "without a backlog",
        "it keeps no backlog: the others would need a full synchronisation with it",
        "Raise repl-backlog-size on every node; a full synchronisation loses nothing, but takes time and memory.",
        **said_by_itself(link={"backlog_active": False}),
    ),
    Case(
        "whose backlog begins too late",
        "replica",
        before(
            nodes=nodes(
                replica_node(R, link={"backlog_first_offset": 996}),
                replica_node(S, link={"applied_offset": 994}),
            )
        ),
        "warning",
        (
            f"{OF_R} is fit, but: its backlog begins at offset 996, after what 10.0.0.3:6379 has: a full synchronisation with it",
        ),
    ),
    Case(
        "whose backlog begins where the other goes on",
        "replica",
        before(
            nodes=nodes(
                replica_node(R, link={"backlog_first_offset": 1001, "backlog_bytes": 0}),
            )
        ),
        "ok",
        BOTH_FIT,
    ),
    Case(
        "whose backlog is too small for what is written",
        "replica",
        before(write_rate_bytes_s=1_000_000.0),
        "warning",
        tuple(
            f"{replica} is fit, but: its backlog holds 1048576 bytes, and 4000000 may be written until the last replica follows (1000000 bytes/s now)"
            for replica in (OF_R, OF_S)
        ),
    ),
    Case(
        "of another patch level",
        "replica",
        before(**said_by_itself(version=(7, 0, 5), compatible_version=(7, 0, 5))),
        "ok",
        BOTH_FIT,
    ),
]

TOOK_OVER = master_node(link={"replid": "b" * 40, "replid2": "a" * 40, "second_offset": 901})

NODES = [
    Case(
        "all can save",
        "node_config_writable",
        before(role_saves={OM: "", R: "", S: ""}),
        "ok",
        ("3 nodes saved their configuration",),
    ),
    Case(
        "a replica cannot save",
        "node_config_writable",
        before(role_saves={OM: "", R: "ERR Rewriting config file: Permission denied", S: ""}),
        "critical",
        ("10.0.0.2:6379 cannot save its configuration: ERR Rewriting config file: Permission denied",),
    ),
    Case(
        "the module would move it",
        "move_possible",
        before(),
        "ok",
        ("the module would move it to 10.0.0.2:6379, fenced",),
    ),
    Case(
        "a password was changed on one replica",
        "move_possible",
        before(nodes=nodes(unreachable(S, "auth", "it refuses the login: WRONGPASS"))),
        "critical",
        ("the module would refuse to move it: node_auth: node 10.0.0.3:6379: it refuses the login: WRONGPASS",),
    ),
    Case("a master", "master_role", before(), "ok", ("10.0.0.1:6379 is a master",), ""),
    Case(
        "it does not answer",
        "master_role",
        before(nodes=nodes(unreachable(OM))),
        "critical",
        ("node 10.0.0.1:6379: Connection refused",),
        "Start it, or open the way to it; behind NAT or a container network set address_map.",
    ),
    Case(
        "two masters",
        "master_role",
        before(nodes=nodes(master_node(S))),
        "critical",
        ("the Sentinels name 10.0.0.1:6379, but 10.0.0.3:6379 says it is a master, too; it holds no data",),
        "It was started without its role, and holds no data. Sentinel makes it a replica within about 20 s: wait, and look again with topology_info.",
    ),
    Case(
        "the old master came back, and wrote nothing",
        "master_role",
        before(nodes=nodes(TOOK_OVER, master_node(S, link={"offset": 900}))),
        "critical",
        (
            "the Sentinels name 10.0.0.1:6379, but 10.0.0.3:6379 says it is a master, too; it is of the same history, and has written nothing since "
            "10.0.0.1:6379 took over",
        ),
        "It came back as what it was. Sentinel makes it a replica within about 20 s, and nothing is lost: wait, and look again with topology_info.",
    ),
    Case(
        "the old master was cut off, and wrote",
        "master_role",
        before(nodes=nodes(TOOK_OVER, master_node(S, link={"offset": 950}))),
        "critical",
        (
            "the Sentinels name 10.0.0.1:6379, but 10.0.0.3:6379 says it is a master, too; it is of the same history, and 50 bytes were written to it since "
            "10.0.0.1:6379 took over",
        ),
        "It came back, or was cut off. Sentinel makes it a replica within about 20 s, and what only it has is thrown away then: if it may matter, stop it now "
        "and save its data, before anything else.",
    ),
    Case(
        "a second master of the same history, with data",
        "master_role",
        before(nodes=nodes(master_node(S, info={"loading": "0", "db0": "keys=1"}))),
        "critical",
        (
            "the Sentinels name 10.0.0.1:6379, but 10.0.0.3:6379 says it is a master, too; whether it holds what the other does not cannot be told",
        ),
    ),
    Case(
        "it would stay writable",
        "master_role",
        before(nodes=nodes(master_node(config={"replica-read-only": "no"}))),
        "critical",
        ("10.0.0.1:6379 has replica-read-only no: demoted, it would go on accepting writes that are then thrown away",),
        "CONFIG SET replica-read-only yes on it.",
    ),
    Case("all are fit", "fit_replicas", before(), "ok", ("2 of 2 replicas are fit",), ""),
    Case(
        "one is enough",
        "fit_replicas",
        before(nodes=nodes(unreachable(R))),
        "ok",
        ("1 of 2 replicas is fit",),
    ),
    Case(
        "two are wanted",
        "fit_replicas",
        before(nodes=nodes(unreachable(R)), thresholds={"min_fit_replicas": 2}),
        "critical",
        ("1 of 2 replicas is fit, 2 are wanted (10.0.0.2:6379: it cannot be asked: Connection refused)",),
        "Start it, or open the way to it; behind NAT or a container network set address_map.",
    ),
    Case(
        "more are wanted than there are",
        "fit_replicas",
        before(thresholds={"min_fit_replicas": 3}),
        "critical",
        ("2 of 2 replicas are fit, 3 are wanted",),
        "Attach more replicas, or lower min_fit_replicas.",
    ),
    Case(
        "a failover disturbs them while it goes on",
        "fit_replicas",
        before([replace(views()[0], master=LEADING), *views()[1:]], nodes(unreachable(R), unreachable(S))),
        "warning",
        (
            "0 of 2 replicas are fit, 1 is wanted (10.0.0.2:6379: it cannot be asked: Connection refused; 10.0.0.3:6379: it cannot be asked: Connection "
            "refused) (a failover is in progress)",
        ),
    ),
    Case(
        "none is known",
        "fit_replicas",
        before(views(replicas=()), [master_node()]),
        "critical",
        ("no Sentinel knows a replica of mymaster: there is nothing to promote",),
        "Attach a replica (an empty server, with replicaof in its configuration) and wait until Sentinel lists it, at most ten seconds.",
    ),
    Case(
        "everybody can log in",
        "replication_login",
        before(),
        "ok",
        ("every node can log in, as a replica, to each replica that may be promoted",),
        "",
    ),
    Case(
        "the master has no masterauth",
        "replication_login",
        before(logins={(OM, R): "it refuses the login: Authentication required.", (OM, S): "", (R, S): "", (S, R): ""}),
        "critical",
        (
            "10.0.0.1:6379 (the master) could not follow a new master, it has no masterauth (10.0.0.2:6379: it refuses the login: Authentication "
            "required.)",
        ),
        "CONFIG SET masterauth (and masteruser) to what a replica needs, on every node, the master too, and CONFIG REWRITE.",
    ),
    Case(
        "a replica has a wrong masterauth",
        "replication_login",
        before(
            nodes=nodes(replica_node(S, master_auth_set=True)),
            logins={(OM, R): "", (S, R): "it refuses the login: invalid username-password pair or user is disabled."},
        ),
        "critical",
        (
            "10.0.0.3:6379 (a replica) could not follow a new master, with its masteruser and masterauth (10.0.0.2:6379: it refuses the login: invalid "
            "username-password pair or user is disabled.)",
        ),
    ),
    Case(
        "masterauth cannot be read",
        "replication_login",
        before(logins={(OM, R): None, (OM, S): None, (S, R): ""}),
        "ok",
        ("not known: masterauth of 10.0.0.1:6379 cannot be read or tried",),
    ),
    Case("nobody to try", "replication_login", before(logins={}), "ok", ("not known: no replica could be asked",)),
    Case(
        "it can be met",
        "min_replicas",
        before(nodes=nodes(replica_node(R, config=settings(min_replicas_to_write="2")))),
        "ok",
        ("min-replicas-to-write is met, and can be met after a move",),
        "",
    ),
    Case(
        "switched off by max-lag",
        "min_replicas",
        before(nodes=nodes(replica_node(R, config=settings(min_replicas_to_write="9", min_replicas_max_lag="0")))),
        "ok",
        ("min-replicas-to-write is met, and can be met after a move",),
    ),
    Case(
        "one replica could not meet it",
        "min_replicas",
        before(nodes=nodes(replica_node(R, config=settings(min_replicas_to_write="3")))),
        "warning",
        (
            "once promoted it would refuse writes, its min-replicas-to-write cannot be met: 10.0.0.2:6379 demands 3 and would have 2",
        ),
        "Mend or attach replicas, or CONFIG SET min-replicas-to-write to what can be met on every node, and CONFIG REWRITE.",
    ),
    Case(
        "no replica could meet it",
        "min_replicas",
        before(
            nodes=nodes(
                replica_node(R, config=settings(min_replicas_to_write="3")),
                replica_node(S, config=settings(min_replicas_to_write="3")),
            )
        ),
        "critical",
        (
            "once promoted it would refuse writes, its min-replicas-to-write cannot be met: 10.0.0.2:6379 demands 3 and would have 2; 10.0.0.3:6379 "
            "demands 3 and would have 2",
        ),
    ),
    Case(
        "the master refuses writes now",
        "min_replicas",
        before(
            nodes=nodes(master_node(config=settings(min_replicas_to_write="2"), info={"min_slaves_good_slaves": "1"}))
        ),
        "critical",
        (
            "the master 10.0.0.1:6379 refuses writes: 1 of the 2 replicas that min-replicas-to-write demands are in step",
        ),
        "Mend or attach replicas, or CONFIG SET min-replicas-to-write to what can be met.",
    ),
    Case(
        "under our fence it is what was set before",
        "min_replicas",
        before(
            nodes=nodes(
                master_node(
                    config=settings(min_replicas_to_write="2000000001", min_replicas_max_lag="1000000010"),
                    info={"min_slaves_good_slaves": "2"},
                )
            )
        ),
        "ok",
        ("min-replicas-to-write is met, and can be met after a move",),
    ),
    Case(
        "everything is permitted",
        "node_permissions",
        before(),
        "ok",
        ("the collection's user may do what a failover needs on every node that answers",),
        "",
    ),
    Case(
        "the master permits no pause",
        "node_permissions",
        before(nodes=nodes(master_node(refused={"CLIENT PAUSE": "NOPERM this user has no permissions"}))),
        "critical",
        ("the master 10.0.0.1:6379 refuses CLIENT PAUSE (CLIENT PAUSE: NOPERM this user has no permissions)",),
        "Give the collection's user these permissions (docs/permissions.md).",
    ),
    Case(
        "what a version lacks and nobody needs",
        "node_permissions",
        before(nodes=nodes(master_node(refused={"CLIENT PAUSE": "ERR syntax"}, write_pause=False))),
        "ok",
        ("the collection's user may do what a failover needs on every node that answers",),
    ),
    Case(
        "a replica cannot be steered",
        "node_permissions",
        before(nodes=nodes(replica_node(R, refused={"CONFIG SET": "ERR unknown command"}))),
        "warning",
        ("replica 10.0.0.2:6379 refuses CONFIG SET (CONFIG SET: ERR unknown command)",),
        "These commands are renamed or disabled on it (rename-command). Renamed: say their new names in renamed_commands, and see that each Sentinel knows "
        "them, too (sentinel rename-command). Disabled: bring them back; without them nobody changes the role of this node.",
    ),
    Case(
        "Sentinel's user may",
        "sentinel_user",
        before(),
        "ok",
        ("Sentinel's user (default) may change the role of every node",),
        "",
    ),
    Case(
        "Sentinel's user may not",
        "sentinel_user",
        before(sentinel_refused={OM: {"watcher": ()}, R: {"watcher": ("SLAVEOF", "CONFIG REWRITE")}}),
        "critical",
        ("on 10.0.0.2:6379 the user watcher of the Sentinels may not send SLAVEOF, CONFIG REWRITE",),
        "ACL SETUSER watcher +slaveof +config|rewrite on every node, and save it; Sentinel gives no sign of what it was refused.",
    ),
    Case(
        "nobody tells of Sentinel's user",
        "sentinel_user",
        before(sentinel_refused={OM: None, R: {"default": ()}, S: {}}),
        "ok",
        (
            "not known: its permissions on 10.0.0.1:6379, 10.0.0.3:6379 cannot be asked for (ACL DRYRUN from Redis 7.0 on, CLIENT LIST)",
        ),
    ),
    Case("no module", "modules", before(), "ok", ("no module that may write by itself is loaded",), ""),
    Case(
        "modules that write when told to",
        "modules",
        before(nodes=nodes(master_node(modules=("vectorset", "ReJSON", "lua")))),
        "ok",
        ("no module that may write by itself is loaded",),
    ),
    Case(
        "a module of which nothing is known",
        "modules",
        before(nodes=nodes(master_node(modules=("rg", "vectorset")))),
        "warning",
        ("loaded modules that may write by themselves: rg on 10.0.0.1:6379",),
        "See that it writes only when a client asks it to. A module that writes from a timer or a thread while writes are paused ends the server on most "
        "versions.",
    ),
    Case(
        "modules may not be listed",
        "modules",
        before(nodes=nodes(master_node(modules=None))),
        "ok",
        ("not known: MODULE LIST is not permitted on 10.0.0.1:6379",),
    ),
    Case(
        "enough time",
        "pause_budget",
        before(),
        "ok",
        ("writes may stand still for 2500 ms before Sentinel could think the master down",),
        "",
    ),
    Case(
        "little time",
        "pause_budget",
        before(views(master=master_entry(down_after_ms=1000))),
        "warning",
        ("down-after-milliseconds is 1000: writes may stand still for 500 ms at most",),
        "Raise it to 2000 or more (SENTINEL SET on every Sentinel): a replica needs that time to catch up under load.",
    ),
    Case(
        "files",
        "config_file",
        before(nodes=nodes(master_node(info={"config_file": "redis.conf"}))),
        "ok",
        ("every node that answers was started with a configuration file",),
        "",
    ),
    Case(
        "no file",
        "config_file",
        before(nodes=nodes(master_node(info={"config_file": ""}))),
        "warning",
        ("10.0.0.1:6379 was started without a configuration file: its role cannot be saved",),
        "Start it with one that it can write to. As it is, it comes back as it was started, and Sentinel needs about 20 s to make it right.",
    ),
    Case(
        "no fence", "no_fence", before(), "ok", ("no node refuses writes by a fence that an interrupted run left",), ""
    ),
    Case(
        "a fence",
        "no_fence",
        before(
            nodes=nodes(
                master_node(config=settings(min_replicas_to_write="2000000001", min_replicas_max_lag="1000000010"))
            )
        ),
        "warning",
        ("10.0.0.1:6379 refuses writes by the fence of an interrupted run",),
        "redis_ha.sentinel.failover puts it back when it runs. By hand: CONFIG SET min-replicas-max-lag 10 and CONFIG SET min-replicas-to-write 1, then "
        "CONFIG REWRITE.",
    ),
    Case(
        "settings may not be read",
        "no_fence",
        before(nodes=nodes(master_node(config={}))),
        "ok",
        ("not known: CONFIG GET is not permitted on 10.0.0.1:6379",),
    ),
    Case("no steering", "no_steering", before(), "ok", ("no node has a priority that an interrupted run left",), ""),
    Case(
        "steering",
        "no_steering",
        before(
            nodes=nodes(
                replica_node(S, config=settings(replica_priority="1000000090"), link={"priority": 1_000_000_090})
            )
        ),
        "warning",
        ("10.0.0.3:6379 has the raised replica-priority of an interrupted run",),
        "redis_ha.sentinel.failover puts it back when it runs. By hand: CONFIG SET replica-priority 90, then CONFIG REWRITE.",
    ),
    Case("no pause", "no_pause", before(), "ok", ("no node that answers holds writes",), ""),
    Case(
        "a pause",
        "no_pause",
        before(held={OM: "INFO says paused_actions write for 8123 ms more", R: "", S: ""}),
        "warning",
        ("a pause holds writes on 10.0.0.1:6379: INFO says paused_actions write for 8123 ms more",),
        "Another run may be at work: wait two seconds and look again. If it stays: CLIENT UNPAUSE on it.",
    ),
    Case(
        "a pause cannot be seen",
        "no_pause",
        before(held={OM: None, R: "", S: ""}),
        "ok",
        ("not known: 10.0.0.1:6379 permits neither PFCOUNT nor CLIENT LIST, and does not show a pause by itself",),
    ),
]


@pytest.mark.parametrize("case", [*REPLICAS, *RESERVATIONS, *NODES], ids=lambda case: f"{case.name}: {case.id}")
def test_finding(case: Case) -> None:
    case.verify()


def test_every_probed_command_may_be_refused_on_the_master_and_is_named() -> None:
    """None of the commands that the failover tries beforehand is forgotten by the check of permissions."""
    for command in PROBED_COMMANDS:
        for write_pause in (True, False):
            node = master_node(refused={command: "NOPERM no"}, write_pause=write_pause)
            case = Case(command, "node_permissions", before(nodes=nodes(node)), "critical", ())
            found = case.found()
            if write_pause and command.startswith("CONFIG") and command != "CONFIG REWRITE":
                continue
            if not write_pause and "PAUSE" in command:
                continue
            assert found[0].status == "critical", command


FILE = {"loading": "0", "config_file": "/etc/redis.conf"}


def test_whose_files_are_written() -> None:
    steered = {"replica-priority": "1000000100", "min-replicas-to-write": "0", "min-replicas-max-lag": "10"}
    ours = nodes(master_node(info=FILE), replica_node(R, info=FILE), replica_node(S, info=FILE, config=steered))
    assert role_changers(before(nodes=ours), BEFORE) == [OM, R]
    assert role_changers(before(nodes=nodes(master_node(info={"config_file": ""}))), BEFORE) == []
    moved = after(nodes=nodes_after(follower(OM, info=FILE), follower(S, info=FILE), new_master(info=FILE)))
    assert role_changers(moved, AFTER) == [OM, R]
    assert role_changers(after(nodes=nodes_after(master_node(info=FILE))), AFTER) == []


def test_what_another_check_has_said_is_not_said_again() -> None:
    def failed(case: Situation) -> list[str]:
        return [check.name for check in examine(case, BEFORE) if check.status == "critical"]

    assert failed(before(views(quorum_ok=False, quorum_detail="NOQUORUM"))) == ["quorum"]
    assert failed(before(nodes=nodes(unreachable(S)), thresholds={"min_fit_replicas": 2})) == ["fit_replicas"]
    assert failed(before(nodes=nodes(unreachable(S)))) == ["move_possible"]
    assert failed(before(nodes=nodes(unreachable(OM), unreachable(R), unreachable(S)))) == [
        "master_role",
        "fit_replicas",
    ]
