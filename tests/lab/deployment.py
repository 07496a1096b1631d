# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real deployment on loopback: one master with replicas or several, and Sentinels that watch them."""

from __future__ import annotations

import atexit
import contextlib
import re
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import redis

from lab.errors import LabError
from lab.machine import times_slower
from lab.ports import PortReservation
from lab.process import Access, Process
from lab.servers import Server, find_server

if TYPE_CHECKING:
    from lab.certificates import Certificates

_Result = TypeVar("_Result")
_POLL_S, _LATER_POLL_S = 0.05, 0.1
"""Between two looks: at first, and where it has not come at once. To look costs more than to wait."""
_HELLO_AGE_MS = 8000
"""A Sentinel sends its hello every two seconds; one that was started again has not yet."""
_ASK_TIMEOUT_S = 1.0


class NotReadyError(LabError):
    """Not in the state that was asked for, but it may come into it; `Deployment.wait_for` waits for its end."""


@dataclass(frozen=True)
class Place:
    """Which process a configuration is for: `index` counts from 0 (node 0 is the first master)."""

    master_name: str | None
    index: int
    host: str
    port: int


Lines = Sequence[str] | Callable[[Place], Sequence[str]]
Credentials = tuple[str | None, str]


class Deployment:
    """Masters with replicas, and Sentinels; a context manager that starts all of it and ends all of it.

    `node_config` and `sentinel_config` are lines that are added to each process's configuration, or a function that
    gives them for a `Place`. `sentinel_master_config` is added once for each master, `{name}` standing for its name.
    Passwords and users are set up by such lines; `node_auth` and `sentinel_auth` (user or None, password) is how the
    lab itself then logs in. `host` may be `::1`, or several loopback addresses: node i of each master, and Sentinel i,
    is on the one at position i (modulo their number). Where the deployment is `mixed`, the nodes of the next master
    begin one address further on, so that masters and replicas share the addresses.
    """

    def __init__(
        self,
        server: Server | str | None = None,
        *,
        sentinel_server: Server | str | None = None,
        masters: Sequence[str] = ("mymaster",),
        replicas: int = 2,
        sentinels: int = 3,
        quorum: int | None = None,
        down_after_ms: int = 5000,
        failover_timeout_ms: int = 60000,
        parallel_syncs: int = 1,
        node_config: Lines = (),
        sentinel_config: Lines = (),
        sentinel_master_config: Sequence[str] = (),
        base_port: int | None = None,
        folder: Path | str | None = None,
        host: str | Sequence[str] = "127.0.0.1",
        mixed: bool = False,
        node_auth: Credentials | None = None,
        sentinel_auth: Credentials | None = None,
        tls: Certificates | None = None,
    ) -> None:
        self.server = _server(server)
        self.sentinel_server = _server(sentinel_server) if sentinel_server is not None else self.server
        self.master_names = tuple(masters)
        self.replicas_per_master = replicas
        self.quorum = sentinels // 2 + 1 if quorum is None else quorum
        self.down_after_ms = down_after_ms
        self.failover_timeout_ms = failover_timeout_ms
        self.parallel_syncs = parallel_syncs
        self.tls = tls
        self.sentinels: list[Process] = []
        self._sentinel_count = sentinels
        self._nodes: dict[str, list[Process]] = {}
        self._node_config = node_config
        self._sentinel_config = sentinel_config
        self._sentinel_master_config = tuple(sentinel_master_config)
        self._base_port = base_port
        self._hosts = (host,) if isinstance(host, str) else tuple(host)
        self._mixed = mixed
        self._node_access = _access(node_auth, tls)
        self._sentinel_access = _access(sentinel_auth, tls)
        self._own_folder = folder is None
        self._folder = None if folder is None else Path(folder).resolve()
        self._ports = PortReservation(self._hosts)
        if not self.master_names or replicas < 0 or sentinels < 0:
            raise LabError("a deployment has at least one master, and no negative number of anything")

    # Life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout_s: float = 30.0) -> None:
        """Starts everything and waits until it is ready."""
        if self._nodes:
            raise LabError("the deployment was started already")
        atexit.register(self.stop)
        try:
            self._start(timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every process and removes the private folder; does nothing the second time."""
        atexit.unregister(self.stop)
        for process in self.processes:
            process.kill()
        self._ports.release()
        if self._own_folder and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, timeout_s: float) -> None:
        began_s = time.monotonic()
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="redis-ha-lab-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in self.master_names:
            self._nodes[name] = []
            for index in range(self.replicas_per_master + 1):
                self._nodes[name].append(self._new_node(name, index))
        self._start_all([node for nodes in self._nodes.values() for node in nodes])
        # A Sentinel that meets a replica before it is in sync looks at it again a second later.
        self._wait_until(self._nodes_missing, began_s, timeout_s)
        self.sentinels = self._new_sentinels()
        self._start_all(self.sentinels)
        self._wait_until(self._missing, began_s, timeout_s)

    @staticmethod
    def _start_all(processes: Sequence[Process]) -> None:
        for process in processes:
            process.launch()
        for process in processes:
            process.wait_up()

    # What is there

    @property
    def folder(self) -> Path:
        """Configuration and logs."""
        if self._folder is None:
            raise LabError("the deployment was not started")
        return self._folder

    @property
    def processes(self) -> list[Process]:
        """Every node and every Sentinel."""
        return [*(node for nodes in self._nodes.values() for node in nodes), *self.sentinels]

    @property
    def sentinel_addresses(self) -> list[str]:
        """`host:port` of every Sentinel."""
        return [sentinel.address for sentinel in self.sentinels]

    def nodes(self, name: str | None = None) -> list[Process]:
        """Every node of a master, whatever its role is now; without a name, of the only or first one."""
        return list(self._nodes[self.master_names[0] if name is None else name])

    def process(self, address: str) -> Process:
        """The process at `host:port`."""
        for process in self.processes:
            if process.address == address:
                return process
        raise LabError(f"nothing of this deployment is at {address}")

    def master(self, name: str | None = None) -> Process:
        """The node that is master now, by what the nodes themselves say; NotReadyError if there is none, or two."""
        masters = [node for node, role in self.roles(name).items() if role == "master"]
        if len(masters) != 1:
            raise NotReadyError(f"{len(masters)} nodes of {name or self.master_names[0]} are master: {masters}")
        return masters[0]

    def replicas(self, name: str | None = None) -> list[Process]:
        """The nodes that are replicas now, by what they say themselves."""
        return [node for node, role in self.roles(name).items() if role == "slave"]

    def roles(self, name: str | None = None) -> dict[Process, str | None]:
        """What each node says it is: master, slave, or None where it does not answer."""
        return {node: answer[0] if answer else None for node, answer in self._role_answers(name).items()}

    def describe(self) -> dict[str, Any]:
        """Everything that a program needs to use the deployment, ready for JSON."""
        return {
            "server": self.server.name,
            "sentinel_server": self.sentinel_server.name,
            "folder": str(self.folder),
            "quorum": self.quorum,
            "down_after_ms": self.down_after_ms,
            "failover_timeout_ms": self.failover_timeout_ms,
            "tls": self.tls is not None,
            "masters": {
                name: [_describe(node) | {"role": role} for node, role in self.roles(name).items()]
                for name in self.master_names
            },
            "sentinels": [_describe(sentinel) for sentinel in self.sentinels],
        }

    def ask_every_second(self) -> None:
        """Lets every Sentinel ask the nodes each second, not every ten: what has changed is seen sooner. Before Redis 7.0 none can be told."""
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.ResponseError):
                sentinel.command("SENTINEL", "DEBUG", "info-period", "1000")

    # Waiting

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Waits until everything runs, replicates, is seen by every Sentinel, and a failover could be agreed on."""
        self._wait_until(self._missing, time.monotonic(), timeout_s)

    def wait_for(self, condition: Callable[[], _Result], timeout_s: float, what: str) -> _Result:
        """Polls a condition until it is true and returns what it returned; NotReadyError counts as not yet. A busy machine has longer."""
        began_s = time.monotonic()
        while True:
            try:
                result = condition()
                seen = repr(result)
                if result:
                    return result
            except NotReadyError as error:
                seen = str(error)
            waited_s = time.monotonic() - began_s
            if waited_s > timeout_s * times_slower():
                raise LabError(f"waited {timeout_s} s in vain for {what}; seen last: {seen}")
            time.sleep(_pause_s(waited_s))

    def _wait_until(self, find_missing: Callable[[], list[str]], began_s: float, timeout_s: float) -> None:
        while missing := find_missing():
            waited_s = time.monotonic() - began_s
            if waited_s > timeout_s * times_slower():
                logs = [
                    f"{process.name} does not run; its log ends:\n{process.log_text(15)}"
                    for process in self.processes
                    if not process.alive
                ]
                raise LabError(f"not ready after {timeout_s} s:\n" + "\n".join(missing + logs))
            time.sleep(_pause_s(waited_s))

    def _missing(self) -> list[str]:
        return self._nodes_missing() or self._sentinels_missing()

    def _nodes_missing(self) -> list[str]:
        missing = [f"{process.name} does not run" for process in self.processes if not process.alive]
        for name in self.master_names:
            answers = self._role_answers(name)
            masters = [node for node, answer in answers.items() if answer and answer[0] == "master"]
            if len(masters) != 1:
                missing.append(f"{name} has {len(masters)} masters")
                continue
            (master,) = masters
            online = len(answers[master][2])
            if online != self.replicas_per_master:
                missing.append(f"{master.name} has {online} replicas online")
            replicas = {node: answer for node, answer in answers.items() if node is not master}
            missing += filter(None, (_replica_missing(node, answer, master) for node, answer in replicas.items()))
        return missing

    def _sentinels_missing(self) -> list[str]:
        missing: list[str] = []
        for name in self.master_names:
            shown: Counter[str] = Counter()
            for sentinel in self.sentinels:
                try:
                    with sentinel.client(_ASK_TIMEOUT_S) as client:
                        address = client.sentinel_get_master_addr_by_name(name)
                        shown[_at(*address) if address else "nothing"] += 1
                        missing += [f"{sentinel.name}: {what}" for what in self._view_missing(client, name)]
                except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
                    missing.append(f"{sentinel.name}: {error}")
            if len(shown) > 1:
                missing.append(f"the Sentinels name different masters of {name}: {dict(shown)}")
            stale = [node for node in self.nodes(name) if node.address in shown and node is not self._master_of(name)]
            missing += [f"the Sentinels name {node.address}, which is not the master of {name}" for node in stale]
        return missing

    def _view_missing(self, client: redis.Redis, name: str) -> list[str]:
        master = _fields(_ask(client, "SENTINEL", "MASTER", name))
        replicas = [_fields(reply) for reply in _ask(client, "SENTINEL", "SLAVES", name)]
        others = [_fields(reply) for reply in _ask(client, "SENTINEL", "SENTINELS", name)]
        missing = []
        if master["flags"] != "master" or master["role-reported"] != "master" or not master["runid"]:
            missing.append(f"{name} is {master['flags']}, reported as {master['role-reported']}")
        if len(replicas) != self.replicas_per_master:
            missing.append(f"{name} has {len(replicas)} replicas")
        missing += [
            f"replica {replica['name']} is {replica['flags']}, its link is {replica['master-link-status']}"
            for replica in replicas
            if (replica["flags"], replica["master-link-status"]) != ("slave", "ok") or not replica["runid"]
        ]
        if len(others) != self._sentinel_count - 1:
            missing.append(f"{name} has {len(others)} other Sentinels")
        missing += [what for other in others for what in _sentinel_missing(other)]
        if not missing:
            # Refused without a quorum, and the refusal says why.
            _ask(client, "SENTINEL", "CKQUORUM", name)
        return missing

    def _master_of(self, name: str) -> Process | None:
        try:
            return self.master(name)
        except NotReadyError:
            return None

    def _role_answers(self, name: str | None) -> dict[Process, Any]:
        answers: dict[Process, Any] = {}
        for node in self.nodes(name):
            answers[node] = None
            if node.alive and not node.paused:
                with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                    answers[node] = node.command("ROLE", timeout_s=_ASK_TIMEOUT_S)
        return answers

    # Configuration

    def _new_place(self, name: str | None, index: int, offset: int) -> Place:
        shift = self.master_names.index(name) if self._mixed and name is not None else 0
        host = self._hosts[(index + shift) % len(self._hosts)]
        return Place(name, index, host, self._ports.take(None if self._base_port is None else self._base_port + offset))

    def _new_node(self, name: str, index: int) -> Process:
        position = self.master_names.index(name) * (self.replicas_per_master + 1) + index
        place = self._new_place(name, index, position)
        label = f"{_file_name(name)}-{index}"
        lines = [
            *self._common_config(place, label, self.server),
            'save ""',
            "appendonly no",
            "repl-diskless-sync no",
            "repl-diskless-sync-delay 0",
            "repl-backlog-size 64mb",
        ]
        if index > 0:
            first = self._nodes[name][0]
            lines.append(f"replicaof {first.host} {first.port}")
        if _is_modern(self.server):
            lines.append("enable-debug-command local")
        lines += _lines(self._node_config, place)
        return Process(self.server, "node", label, place.host, place.port, self.folder, _text(lines), self._node_access)

    def _new_sentinels(self) -> list[Process]:
        # Each is told of the others, as Sentinel's own configuration tells it after a restart: no waiting for hellos.
        first_offset = len(self.master_names) * (self.replicas_per_master + 1)
        places = [self._new_place(None, index, first_offset + index) for index in range(self._sentinel_count)]
        identities = {place: secrets.token_hex(20) for place in places}
        sentinels = []
        for place, identity in identities.items():
            label = f"sentinel-{place.index}"
            lines = [*self._common_config(place, label, self.sentinel_server), f"sentinel myid {identity}"]
            lines += _lines(self._sentinel_config, place)
            for name in self.master_names:
                master = self._nodes[name][0]
                lines += [
                    f"sentinel monitor {name} {master.host} {master.port} {self.quorum}",
                    f"sentinel down-after-milliseconds {name} {self.down_after_ms}",
                    f"sentinel failover-timeout {name} {self.failover_timeout_ms}",
                    f"sentinel parallel-syncs {name} {self.parallel_syncs}",
                    *(line.replace("{name}", name) for line in self._sentinel_master_config),
                    *(
                        f"sentinel known-sentinel {name} {other.host} {other.port} {their_identity}"
                        for other, their_identity in identities.items()
                        if other != place
                    ),
                ]
            sentinels.append(
                Process(
                    self.sentinel_server,
                    "sentinel",
                    label,
                    place.host,
                    place.port,
                    self.folder,
                    _text(lines),
                    self._sentinel_access,
                )
            )
        return sentinels

    def _common_config(self, place: Place, label: str, server: Server) -> list[str]:
        data = self.folder / f"{label}.data"
        data.mkdir(exist_ok=True)
        listen = self.tls.server_config(place.port) if self.tls else [f"port {place.port}"]
        # Masters and Sentinels learn an address from where a connection comes from.
        source = [f"bind-source-addr {place.host}"] if _is_modern(server) else []
        return [f"bind {place.host}", *source, *listen, "protected-mode no", f"dir {data}", "daemonize no"]


def _replica_missing(node: Process, answer: Any, master: Process) -> str:
    """What a replica lacks; nothing, if it follows."""
    if not answer:
        return f"{node.name} does not answer"
    if answer[3] != "connected":
        return f"the link of {node.name} to its master is {answer[3]}"
    return "" if int(answer[2]) == master.port else f"{node.name} follows {answer[1]}:{answer[2]}, not {master.address}"


def _sentinel_missing(other: Mapping[str, str]) -> list[str]:
    """What a Sentinel still thinks of another one."""
    missing = []
    # After a failover Valkey 9.1 keeps showing what the others once thought of the old master.
    if set(other["flags"].split(",")) - {"sentinel", "master_down"}:
        missing.append(f"Sentinel {other['name']} is {other['flags']}")
    if int(other["last-hello-message"]) > _HELLO_AGE_MS:
        missing.append(f"Sentinel {other['name']} has sent no hello for {other['last-hello-message']} ms")
    return missing


def _pause_s(waited_s: float) -> float:
    return min(_LATER_POLL_S, max(_POLL_S, waited_s / 10))


def _at(host: str, port: int) -> str:
    """As a process shows its own address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _server(server: Server | str | None) -> Server:
    return server if isinstance(server, Server) else find_server(server)


def _is_modern(server: Server) -> bool:
    return server.family == "valkey" or server.version >= (7, 0, 0)


def _access(credentials: Credentials | None, tls: Certificates | None) -> Access:
    user, password = credentials or (None, None)
    return Access(user, password, tls)


def _ask(client: redis.Redis, *command: str) -> Any:
    return client.execute_command(*command)


def _lines(lines: Lines, place: Place) -> Sequence[str]:
    return lines(place) if callable(lines) else lines


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _fields(reply: Any) -> dict[str, str]:
    """Sentinel's flat list of names and values, which some versions of redis-py turn into a dictionary themselves."""
    if isinstance(reply, dict):
        return {str(key): str(value) for key, value in reply.items()}
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _describe(process: Process) -> dict[str, Any]:
    return {"name": process.name, "address": process.address, "pid": process.pid, "log": str(process.log_path)}
