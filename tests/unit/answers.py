# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the servers of the model answer to a command, in the forms of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from redis import exceptions
from unit.builders import NAME
from unit.fake_sentinel import NEVER_S, FakeSentinel

if TYPE_CHECKING:
    from unit.fake_connection import FakeConnection
    from unit.world import Node, World

HELLO_CHANNEL = "__sentinel__:hello"


def error(line: str) -> exceptions.RedisError:
    """An error as redis-py raises it."""
    if line.startswith("NOPERM"):
        return exceptions.NoPermissionError(line.partition(" ")[2])
    return exceptions.ResponseError(line[4:] if line.startswith("ERR ") else line)


def row(**fields: Any) -> list[str]:
    """A flat array of names and values."""
    return [str(word) for pair in fields.items() for word in pair]


class NodeAnswers:
    """What a data node answers on one connection."""

    def __init__(self, world: World, node: Node, connection: FakeConnection) -> None:
        self._world = world
        self._node = node
        self._connection = connection

    def to(self, words: list[str]) -> Any:
        """Execute one command."""
        line = " ".join(words).upper()
        commands = {
            "INFO": lambda _words: self._info(),
            "ROLE": lambda _words: self._role(),
            "MODULE LIST": lambda _words: [],
            "CLIENT HELP": lambda _words: (
                ["PAUSE <timeout> [WRITE|ALL]", "UNPAUSE"] if self._node.modern else ["PAUSE <timeout>"]
            ),
            "CLIENT SETNAME": self._set_name,
            "CLIENT ID": lambda _words: self._connection.id,
            "CLIENT LIST": lambda _words: self._client_list(),
            "CLIENT PAUSE": self._pause,
            "CLIENT UNPAUSE": lambda _words: self._unpause(),
            "CLIENT KILL": lambda _words: self._kill(),
            "CONFIG GET": lambda words: [words[2], self._node.settings[words[2]]],
            "CONFIG SET": self._set,
            "CONFIG REWRITE": lambda _words: self._rewrite(),
            "REPLICAOF": self._replicaof,
        }
        for name, execute in commands.items():
            if line == name or line.startswith(f"{name} "):
                return execute(words)
        raise exceptions.ResponseError(f"unknown command '{line}'")

    def _set_name(self, words: list[str]) -> str:
        self._connection.name = words[2]
        return "OK"

    def _client_list(self) -> str:
        ours = [(connection.id, connection.name) for connection in self._node.connections]
        known = [
            f"id={number} addr=10.9.9.9:1 name={name} age=7 flags=N" for number, name in ours + self._node.strangers
        ]
        new = [f"id={number} addr=10.9.9.7:1 name={name} age=0 flags=N" for number, name in self._node.newcomers]
        held = [f"id=2 addr=10.9.9.8:1 name=sentinel-x-cmd age=99 flags=b cmd={word}" for word in self._node.held]
        return "".join(f"{row}\n" for row in known + new + held)

    def _pause(self, words: list[str]) -> str:
        self._node.pause_until_s = max(self._node.pause_until_s, self._world.now_s + int(words[2]) / 1000)
        return "OK"

    def _unpause(self) -> str:
        self._node.pause_until_s = self._world.now_s
        return "OK"

    def _kill(self) -> int:
        self._world.kill_clients(self._node, spare=self._connection)
        return 1

    def _set(self, words: list[str]) -> str:
        self._node.settings[words[2]] = words[3]
        return "OK"

    def _rewrite(self) -> str:
        self._node.rewritten = dict(self._node.settings)
        return "OK"

    def _replicaof(self, words: list[str]) -> str:
        if [word.upper() for word in words[1:]] == ["NO", "ONE"]:
            self._world.promote(self._node)
        else:
            self._world.follow(self._node, Address(words[1], int(words[2])))
        return "OK"

    def _role(self) -> list[Any]:
        node = self._node
        master = self._shown_master()
        if master is None:
            return ["master", int(node.offset), []]
        link = "connected" if node.linked else "connect"
        return ["slave", master.host, master.port, link, int(node.offset)]

    def _shown_master(self) -> Address | None:
        """Its master, by the name that it was told."""
        node = self._node
        told = node.shown_master
        return told if told is not None and self._world.real(told) == node.master else node.master

    def _info(self) -> str:
        node = self._node
        lines = [
            "# Server",
            f"redis_version:{'7.0.15' if node.modern else '6.0.16'}",
            f"run_id:{node.run_id}",
            "loading:0",
            f"sync_full:{node.sync_full}",
            f"sync_partial_ok:{node.sync_partial}",
            f"rdb_changes_since_last_save:{int(node.changes)}",
            "rdb_last_save_time:1700000000",
            "# Replication",
            f"role:{'master' if node.is_master else 'slave'}",
        ]
        master = self._shown_master()
        if master is not None:
            lines += [
                f"master_host:{master.host}",
                f"master_port:{master.port}",
                f"master_link_status:{'up' if node.linked else 'down'}",
                "master_sync_in_progress:0",
                f"slave_repl_offset:{int(node.offset)}",
                f"slave_priority:{node.settings['replica-priority']}",
                "slave_read_only:1",
            ]
        before = node.data[-2] if len(node.data) > 1 else ("0" * 40, -2)
        lines += [
            "master_failover_state:no-failover",
            f"master_replid:{node.replid}",
            f"master_replid2:{before[0]}",
            f"master_repl_offset:{int(node.offset)}",
            f"second_repl_offset:{int(before[1]) + 1}",
        ]
        return "\r\n".join(lines) + "\r\n"


class SentinelAnswers:
    """What a Sentinel answers."""

    def __init__(self, world: World, sentinel: FakeSentinel) -> None:
        self._world = world
        self._sentinel = sentinel

    def to(self, words: list[str]) -> Any:
        """Execute one command."""
        if words[0] == "INFO":
            return self._info()
        if words[0] == "PUBLISH":
            return self._publish(words[1], words[2])
        verb = words[1].upper() if len(words) > 1 else ""
        if verb == "MYID":
            if not self._sentinel.tells_its_id:
                raise exceptions.ResponseError("Unknown sentinel subcommand 'MYID'")
            return self._sentinel.run_id
        commands = {
            "FAILOVER": self._failover,
            "MASTER": lambda _words: self._master_row(),
            "GET-MASTER-ADDR-BY-NAME": lambda _words: self._named(),
            "REPLICAS": lambda _words: [self._replica_row(address) for address in self._sentinel.seen],
            "SENTINELS": lambda _words: [self._peer_row(*peer) for peer in self._sentinel.peers.items()],
            "CKQUORUM": lambda _words: self._check_quorum(),
            "SET": self._set,
        }
        if verb == "MASTERS":
            return [self._master_row(name) for name in (NAME, *self._sentinel.other_names)]
        if verb not in commands:
            raise exceptions.ResponseError(f"unknown subcommand {verb}")
        if words[2] != NAME:
            raise exceptions.ResponseError("No such master with that name")
        return commands[verb](words)

    def _info(self) -> str:
        sentinel = self._sentinel
        start = f"redis_version:7.0.15\r\nrun_id:process-{sentinel.address}\r\nhz:{sentinel.hz}\r\n"
        masters = 1 + len(sentinel.other_names)
        return f"{start}sentinel_masters:{masters}\r\nsentinel_tilt:{int(sentinel.tilt)}\r\n"

    def _publish(self, channel: str, payload: str) -> int:
        if self._sentinel.refuses_hello:
            raise error(self._sentinel.refuses_hello)
        if channel != HELLO_CHANNEL:
            raise exceptions.ResponseError("Only HELLO messages are accepted by Sentinel instances.")
        self._sentinel.hear(payload)
        return 1

    def _failover(self, words: list[str]) -> str:
        sentinel = self._sentinel
        if sentinel.refuses:
            raise error(sentinel.refuses)
        coordinated = len(words) == 4
        if coordinated and not sentinel.coordinated:
            raise exceptions.ResponseError("wrong number of arguments for 'sentinel|failover' command")
        self._world.failovers.append((self._world.now_s, sentinel.address, sentinel.in_progress))
        if sentinel.in_progress:
            raise exceptions.ResponseError("INPROG Failover already in progress")
        if sentinel.select() is None:
            raise exceptions.ResponseError("NOGOODSLAVE No suitable replica to promote")
        sentinel.begin(forced=True)
        sentinel.hands_over = coordinated
        return "OK"

    def _set(self, words: list[str]) -> str:
        self._sentinel.failover_timeout_ms = int(words[4])
        return "OK"

    def _named(self) -> list[str]:
        named = self._sentinel.shown(self._sentinel.named)
        return [named.host, str(named.port)]

    def _check_quorum(self) -> str:
        peers = self._sentinel.peers.values()
        alive = [peer for peer in peers if peer in self._world.sentinels and self._world.sentinels[peer].alive]
        usable, known = 1 + len(alive), 1 + len(peers)
        if usable < max(self._world.quorum, known // 2 + 1):
            reason = "Not enough available Sentinels to reach the majority and authorize a failover"
            raise exceptions.ResponseError(f"NOQUORUM {usable} usable Sentinels. {reason}")
        return f"OK {usable} usable Sentinels. Quorum and failover authorization can be reached"

    def _master_row(self, name: str = NAME) -> list[str]:
        world, sentinel = self._world, self._sentinel
        flags = "master"
        flags += ",failover_in_progress" if sentinel.in_progress else ""
        flags += ",coordinated_failover" if sentinel.hands_over else ""
        flags += "" if world.nodes[sentinel.master].alive else ",s_down,o_down"
        master = sentinel.shown(sentinel.master)
        script = {"client-reconfig-script": sentinel.script} if sentinel.script else {}
        return row(
            name=name,
            ip=master.host,
            port=master.port,
            runid=world.nodes[sentinel.master].run_id,
            flags=flags,
            **{"config-epoch": sentinel.config_epoch, "down-after-milliseconds": world.down_after_ms},
            **{"failover-timeout": sentinel.failover_timeout_ms, "parallel-syncs": 1, "num-slaves": len(sentinel.seen)},
            **{"num-other-sentinels": len(sentinel.peers), "quorum": world.quorum},
            **{"role-reported": sentinel.master_role},
            **{"info-refresh": int((world.now_s - sentinel.master_info_at_s) * 1000) + 1},
            **{"failover-state": sentinel.state},
            **script,
        )

    def _replica_row(self, address: Address) -> list[str]:
        seen, node, shown = self._sentinel.seen[address], self._world.nodes[address], self._sentinel.shown(address)
        heard = seen.at_s > NEVER_S
        master = self._sentinel.shown(seen.master) if seen.master else Address("?", 0)
        return row(
            name=str(shown),
            ip=shown.host,
            port=shown.port,
            runid=node.run_id if heard else "",
            flags="slave" if node.alive else "s_down,slave,disconnected",
            **{"master-link-status": "ok" if seen.linked else "err", "master-link-down-time": 0},
            **{"master-host": master.host, "master-port": master.port, "slave-priority": seen.priority},
            **{"slave-repl-offset": seen.offset, "last-ok-ping-reply": 100, "replica-announced": 1},
            **{"info-refresh": int((self._world.clock_s() - seen.at_s) * 1000) + 1 if heard else 0},
        )

    def _peer_row(self, run_id: str, address: Address) -> list[str]:
        other = self._world.sentinels.get(address)
        return row(
            ip=address.host,
            port=address.port,
            runid=run_id,
            flags="sentinel" if other is not None and other.alive else "s_down,sentinel,disconnected",
            **{"last-hello-message": 500},
        )
