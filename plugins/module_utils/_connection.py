# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options -> clients of Sentinels and nodes. The only place that builds a connection.

redis-py retries lost connections by itself (ten times in 8.x), and a lost reply would send ``SENTINEL FAILOVER`` twice;
so retries are off, the protocol is fixed to RESP2, and what may be repeated (``ask``) is told apart from what may not
(``order``). This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import socket
import ssl
import struct
import sys
import threading
import time
import traceback
from collections.abc import Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Callable, TypeVar

from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    AuthError,
    LinkError,
    ReplyError,
    TlsError,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event, parse_event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._tls import refusal

try:
    import redis
    from redis import exceptions as redis_errors
    from redis.connection import Connection, SSLConnection

    REDIS_IMPORT_ERROR = None
except ImportError:
    REDIS_IMPORT_ERROR = traceback.format_exc()

MINIMUM_REDIS_PY = (3, 5)
"""Debian 11 ships 3.5.3; older ones cannot send a user name."""
MINIMUM_SINCE_PYTHON_3_12 = (4, 3, 4)
"""Python 3.12 has no distutils any more, which redis-py 3.5 imports. This is the oldest that is tested there."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Reply = Any


@dataclass(frozen=True)
class Tls:
    """How TLS connections are made. Paths are those of the host that runs the module."""

    validate_certs: bool = True
    ca_certs: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None


@dataclass(frozen=True)
class Access:
    """How to get into one kind of server."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None


@dataclass(frozen=True)
class ConnectionOptions:
    """Everything that is needed to reach a deployment.

    ``address_map`` leads from ``host:port`` or ``host``, as Sentinel announces it, to what can be reached from here.
    ``renamed_commands`` leads from a command, in capitals, to what the nodes call it (``rename-command``).
    """

    sentinels: tuple[Address, ...]
    sentinel_access: Access = Access()
    node_access: Access = Access()
    connect_timeout_s: float = 3.0
    address_map: Mapping[str, str] = field(default_factory=dict)
    renamed_commands: Mapping[str, str] = field(default_factory=dict)

    def reachable(self, address: Address) -> Address:
        """Where ``address`` is reached from here."""
        whole = self.address_map.get(str(address))
        if whole is not None:
            host, _colon, port = whole.rpartition(":")
            return Address(host.strip("[]"), int(port)) if port.isdigit() and host else Address(whole, address.port)
        return Address(self.address_map.get(address.host, address.host), address.port)


def redis_py_to_install(python: tuple[int, ...] = sys.version_info[:2]) -> str:
    """The oldest redis-py that this version of Python can use, written with dots."""
    return ".".join(map(str, MINIMUM_REDIS_PY if python < (3, 12) else MINIMUM_SINCE_PYTHON_3_12))


def redis_py_version() -> tuple[int, ...]:
    """The version of redis-py, as far as it is made of numbers."""
    return tuple(int(part) for part in redis.__version__.split(".")[:3] if part.isdigit())


def _open(address: Address, access: Access, timeout_s: float) -> Any:
    """A redis-py connection, not yet connected."""
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "username": access.username,
        "password": access.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "decode_responses": True,
        "encoding_errors": "replace",
    }
    kind: Any = Connection
    if access.tls is not None:
        kind = SSLConnection
        options.update(
            ssl_cert_reqs="required" if access.tls.validate_certs else "none",
            ssl_check_hostname=access.tls.validate_certs,
            ssl_ca_certs=access.tls.ca_certs,
            ssl_certfile=access.tls.client_cert_file,
            ssl_keyfile=access.tls.client_key_file,
        )
    accepted = _accepted_options(kind)
    if "retry" in accepted:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options["retry"] = Retry(NoBackoff(), 0)
    if "protocol" in accepted:
        options["protocol"] = 2
    if "driver_info" in accepted:
        options["driver_info"] = None
    elif "lib_name" in accepted:
        options.update(lib_name=None, lib_version=None)
    return kind(**options)


@functools.cache
def _accepted_options(kind: Any) -> set[str]:
    """What a kind of connection can be told. Found once: it takes longer than to connect."""
    accepted: set[str] = set()
    for ancestor in kind.__mro__[:-1]:
        accepted.update(inspect.signature(ancestor.__init__).parameters)
    return accepted


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_closed(causes: Iterable[BaseException]) -> bool:
    """Whether a connection that was made was closed by the other side."""
    return any(
        isinstance(cause, (ConnectionResetError, BrokenPipeError)) or "closed by server" in str(cause)
        for cause in causes
    )


_PREFIXES = {
    "NoPermissionError": "NOPERM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
}


def _reply_error(address: Address, user: str, error: BaseException) -> ReplyError:
    """redis-py cuts the first word off the errors that it knows; put it back. Servers before 7.2 do not name the user."""
    text = str(error).replace("this user has no permissions", f"user {user} has no permissions")
    first, _space, rest = text.partition(" ")
    prefix = _PREFIXES.get(type(error).__name__)
    if first.isupper() and first.isalpha() and len(first) > 2:
        return ReplyError(str(address), first, rest)
    return ReplyError(str(address), prefix or "ERR", text)


class Client:
    """One connection to one server, opened when it is first needed.

    Args:
        address: What the server is called in messages and results.
        open_connection: Makes a redis-py connection, not yet connected.
        timeout_s: How long a command may take, in seconds, if the call does not say otherwise.
        access: How the connection gets in, for what is said when it does not.
        renamed: What the server calls a command, by its usual name in capitals.
        now_s: The time by which the commands are given theirs, in seconds.
    """

    def __init__(
        self,
        address: Address,
        open_connection: Callable[[], Any],
        timeout_s: float,
        access: Access | None = None,
        renamed: Mapping[str, str] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._now_s = now_s
        self._open_connection = open_connection
        self._timeout_s = timeout_s
        self._access = access or Access()
        self._renamed = renamed or {}
        self._user = self._access.username or "default"
        self._connection: Any = None
        self._answered = False
        self._name: str | None = None

    def ask(self, *command: object, timeout_s: float | None = None) -> Reply:
        """Send what may arrive twice: a question, or a setting. Sent again, once, if the server had closed the
        connection: Sentinel closes every connection of a node whose role it changes.

        Raises:
            LinkError: The server cannot be reached or does not answer in time.
            ReplyError: The server answers with an error.
        """
        return self.ask_many([command], timeout_s)[0]

    def ask_many(
        self, commands: list[tuple[object, ...]], timeout_s: float | None = None, keep_errors: bool = False
    ) -> list[Reply]:
        """``ask`` for several commands at once; with ``keep_errors`` an error stands in its place in the list."""
        had_connection = self._connection is not None
        try:
            replies = self._exchange(commands, timeout_s, once=False)
        except _ClosedError:
            if not had_connection:
                raise
            replies = self._exchange(commands, timeout_s, once=False)
        if not keep_errors:
            self._raise_first_error(replies)
        return replies

    def order(self, *command: object, timeout_s: float | None = None) -> Reply:
        """Send what changes something: once and never again.

        Raises:
            LinkError: ``sent`` tells whether the server may have received it.
            ReplyError: The server refused it.
        """
        return self.order_many([command], timeout_s)[0]

    def order_many(self, commands: list[tuple[object, ...]], timeout_s: float | None = None) -> list[Reply]:
        """``order`` for several commands at once, for example an order and the question what has come of it."""
        replies = self._exchange(commands, timeout_s)
        self._raise_first_error(replies)
        return replies

    def transact(self, *commands: tuple[object, ...], timeout_s: float | None = None) -> list[Reply]:
        """Run commands in one MULTI/EXEC, once; the replies of the commands.

        Raises:
            LinkError: ``sent`` tells whether the server may have received it.
            ReplyError: The first command that the server refused. Refused in MULTI, none of them ran.
        """
        self._begin(timeout_s)
        replies = self._exchange([*commands, ("EXEC",)], timeout_s)
        self._raise_first_error(replies)
        results: list[Reply] = replies[-1]
        self._raise_first_error(results)
        return results

    def refusals(self, commands: Mapping[str, tuple[object, ...]]) -> dict[str, ReplyError]:
        """What this server would refuse of named commands: renamed, disabled or not permitted to the collection's user.

        In MULTI a server looks at a command and does not run it, on every version; DISCARD forgets it.

        Raises:
            LinkError: It cannot be asked.
        """
        try:
            self._begin(None)
        except ReplyError as refused:
            return {"MULTI": refused}
        replies = self._exchange([*commands.values(), ("DISCARD",)], None)
        found = {name: reply for name, reply in zip([*commands, "DISCARD"], replies) if isinstance(reply, ReplyError)}
        if "DISCARD" in found:
            # Nothing but the end of the connection ends this MULTI.
            self.close()
        self._begin(None)
        (executed,) = self._exchange([("EXEC",)], None)
        if isinstance(executed, ReplyError):
            found["EXEC"] = executed
            self.close()
        return found

    def _begin(self, timeout_s: float | None) -> None:
        """MULTI by itself: sent together with the commands and refused, it would let them run one by one."""
        self._raise_first_error(self._exchange([("MULTI",)], timeout_s))

    @staticmethod
    def _raise_first_error(replies: Iterable[Reply]) -> None:
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise reply

    def set_name(self, name: str) -> None:
        """Name this connection, and those that follow it here, as ``CLIENT LIST`` shows them."""
        self.ask("CLIENT", "SETNAME", name)
        self._name = name

    def close(self) -> None:
        """Close the connection; the next command opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _take_back(self) -> None:
        """Let nothing of what was sent arrive any more, as far as it has not.

        The system would send it on, and deliver it when the network is mended: a failover that was given up, minutes ago.
        The server does not learn then that this connection has ended.
        """
        opened = getattr(self._connection, "_sock", None)
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _connect(self, timeout_s: float | None) -> Any:
        if self._connection is not None:
            return self._connection
        connection = self._open_connection()
        if timeout_s is not None:
            connection.socket_connect_timeout = min(timeout_s, self._timeout_s)
        try:
            connection.connect()
            if self._name is not None:
                connection.send_command(*self._as_called(("CLIENT", "SETNAME", self._name)))
                connection.read_response()
        except (redis_errors.RedisError, OSError) as error:
            connection.disconnect()
            raise self._link_error(error, sent=False) from error
        self._connection = connection
        # A login, or a name, has been answered already.
        self._answered = self._access.password is not None or self._name is not None
        return connection

    def _exchange(self, commands: list[tuple[object, ...]], timeout_s: float | None, once: bool = True) -> list[Reply]:
        connection = self._connect(timeout_s)
        deadline_s = self._now_s() + (self._timeout_s if timeout_s is None else timeout_s)
        try:
            called = [self._as_called(command) for command in commands]
            connection.send_packed_command(connection.pack_commands(called), check_health=False)
            replies = []
            for command in commands:
                if not connection.can_read(max(0.0, deadline_s - self._now_s())):
                    raise redis_errors.TimeoutError(f"no answer to {command[0]} in time")
                replies.append(self._read(connection))
                self._answered = True
            return replies
        except (redis_errors.RedisError, OSError) as error:
            if once:
                self._take_back()
            self.close()
            raise self._link_error(error, sent=True) from error

    def _as_called(self, command: tuple[object, ...]) -> tuple[object, ...]:
        """A command by the name that this server has for it."""
        return (self._renamed.get(str(command[0]).upper(), command[0]), *command[1:])

    def _read(self, connection: Any) -> Reply:
        try:
            reply = connection.read_response()
        except (redis_errors.ResponseError, redis_errors.AuthenticationError) as error:
            refused = _reply_error(self.address, self._user, error)
            if refused.prefix == "NOAUTH":
                raise redis_errors.AuthenticationError(refused.message) from error
            return refused
        if isinstance(reply, list):
            return [
                _reply_error(self.address, self._user, item) if isinstance(item, Exception) else item for item in reply
            ]
        return reply

    def _link_error(self, error: BaseException, sent: bool) -> LinkError:
        name = str(self.address)
        causes = list(_causes(error))
        # Once a server has answered, an error of TLS is the end of the connection like any other.
        handshake = self._access.tls is not None and not (sent and self._answered)
        known = (
            _login_error(name, causes)
            or (_handshake_error(name, causes) if handshake else None)
            or _network_error(name, causes, sent)
        )
        if known is not None:
            return known
        said = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), str(error))
        if not self._answered and _is_closed(causes):
            if handshake:
                return TlsError(name, f"the TLS handshake failed: {refusal(error)}", sent)
            said = f"it closes the connection without an answer ({said}); if it speaks TLS only, set tls"
        return (_ClosedError if sent else LinkError)(name, said, sent)


def _login_error(name: str, causes: Iterable[BaseException]) -> LinkError | None:
    """What a server says of a connection that it does not let in."""
    if any("max number of clients" in str(cause) for cause in causes):
        return _FullError(name, "it has as many connections as its maxclients allows", sent=False)
    for cause in causes:
        if isinstance(cause, (redis_errors.AuthenticationError, redis_errors.ResponseError)):
            return AuthError(name, f"it refuses the login: {str(cause).rstrip('.')}", sent=False)
    return None


def _handshake_error(name: str, causes: Iterable[BaseException]) -> LinkError | None:
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, TimeoutError):
            return TlsError(name, f"the TLS handshake failed: {refusal(cause)}", sent=False)
    return None


def _network_error(name: str, causes: Iterable[BaseException], sent: bool) -> LinkError | None:
    if any(isinstance(cause, (redis_errors.TimeoutError, socket.timeout)) for cause in causes):
        return LinkError(name, "it does not answer in time" if sent else "no connection in time", sent)
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return LinkError(name, f"the name cannot be resolved: {cause.strerror}", sent=False)
    return None


class _ClosedError(LinkError):
    """The server closed a connection that was open."""


class _FullError(LinkError):
    """The server takes no more connections; it closes one more without looking at what was sent."""

    code = "clients"


class Listener:
    """Events of one Sentinel, handed to ``on_event`` with the monotonic second of their arrival, from a thread of its own."""

    def __init__(self, address: Address, connection: Any, on_event: Callable[[Address, float, Event], None]) -> None:
        self._address = address
        self._connection = connection
        self._on_event = on_event
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"events of {address}", daemon=True)

    def start(self) -> None:
        """Subscribe, wait for the confirmation, and listen.

        Raises:
            LinkError: The Sentinel cannot be reached or does not permit it. Events are hints: a failover can do without.
        """
        try:
            self._connection.connect()
            self._connection.send_command("PSUBSCRIBE", "*")
            self._connection.read_response()
        except (redis_errors.RedisError, OSError) as error:
            self._connection.disconnect()
            raise LinkError(str(self._address), f"it sends no events: {error}") from error
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; returns when the thread has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _listen(self) -> None:
        try:
            while not self._stop.is_set():
                if self._connection.can_read(0.1):
                    message = self._connection.read_response()
                    if isinstance(message, list) and len(message) == 4 and message[0] == "pmessage":
                        self._on_event(self._address, time.monotonic(), parse_event(message[2], message[3]))
        except (redis_errors.RedisError, OSError):
            self._on_event(
                self._address, time.monotonic(), Event("events-lost", "the Sentinel closed the connection", "", None)
            )
        finally:
            self._connection.disconnect()


class Fleet:
    """The clients of one deployment, by announced address. Close it when done."""

    def __init__(self, options: ConnectionOptions) -> None:
        self.options = options
        self._clients: dict[tuple[str, Address], Client] = {}
        self._listeners: list[Listener] = []
        self._resolved: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="asks")

    def with_node_access(self, access: Access) -> Fleet:
        """Clients of the same deployment that log in to the nodes in another way. Close it, too."""
        return Fleet(replace(self.options, node_access=access))

    def another(self) -> Fleet:
        """Clients of the same deployment with connections of their own, for another thread. What a name leads to is known to both. Close it, too."""
        fleet = Fleet(self.options)
        fleet._resolved = self._resolved
        return fleet

    def sentinel(self, address: Address) -> Client:
        """The client of the Sentinel that is announced as ``address``."""
        return self._client("sentinel", address, self.options.sentinel_access)

    def node(self, address: Address) -> Client:
        """The client of the data node that is announced as ``address``."""
        return self._client("node", address, self.options.node_access)

    def lock(self, address: Address) -> Client:
        """A connection to a data node for the lock alone.

        It carries no orders, so nothing of it is ever taken back, and the server learns of its end even where the network was cut
        meanwhile: the lock is gone as soon as the network is mended.
        """
        return self._client("lock", address, self.options.node_access)

    def _client(self, kind: str, address: Address, access: Access) -> Client:
        if (kind, address) not in self._clients:
            endpoint = self.options.reachable(address)
            timeout_s = self.options.connect_timeout_s
            renamed = {} if kind == "sentinel" else self.options.renamed_commands
            self._clients[kind, address] = Client(
                address, lambda: _open(endpoint, access, timeout_s), timeout_s, access, renamed
            )
        return self._clients[kind, address]

    def listen(self, address: Address, on_event: Callable[[Address, float, Event], None]) -> None:
        """Hand every event of a Sentinel to ``on_event`` until the fleet is closed.

        Raises:
            LinkError: The Sentinel sends no events to us.
        """
        options = self.options
        connection = _open(options.reachable(address), options.sentinel_access, options.connect_timeout_s)
        listener = Listener(address, connection, on_event)
        listener.start()
        self._listeners.append(listener)

    def hear(self, address: Address, channel: str, seconds: float, is_enough: Callable[[str], bool]) -> None:
        """Hand what is published on a channel of a node to ``is_enough``, until it says so or the time is up.

        Raises:
            LinkError: The node cannot be reached, or does not permit it.
        """
        options = self.options
        connection = _open(options.reachable(address), options.node_access, options.connect_timeout_s)
        deadline_s = time.monotonic() + seconds
        try:
            connection.connect()
            connection.send_command(options.renamed_commands.get("SUBSCRIBE", "SUBSCRIBE"), channel)
            connection.read_response()
            while (left_s := deadline_s - time.monotonic()) > 0:
                if connection.can_read(left_s):
                    message = connection.read_response()
                    if message[0] == "message" and is_enough(str(message[2])):
                        return
        except (redis_errors.RedisError, OSError) as error:
            raise LinkError(str(address), f"it cannot be listened to: {error}") from error
        finally:
            connection.disconnect()

    def endpoint(self, address: Address) -> Address:
        """Where a server is reached from here, by IP address: equal for two names of one server."""
        reached = self.options.reachable(address)
        return Address(self.resolve(reached.host), reached.port)

    def resolve(self, host: str) -> str:
        """The IP address of a host as seen from here; the name itself where it has none."""
        if host not in self._resolved:
            try:
                self._resolved[host] = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
            # Text that no name can be, such as one with two dots in a row, is a UnicodeError (module encodings.idna).
            except (OSError, UnicodeError):
                self._resolved[host] = host.lower()
        return self._resolved[host]

    def gather(self, keys: Iterable[Key], ask: Callable[[Key], Value]) -> dict[Key, Value | LinkError | ReplyError]:
        """Ask several servers side by side; an answer or the error for each."""

        def attempt(key: Key) -> Value | LinkError | ReplyError:
            try:
                return ask(key)
            except (LinkError, ReplyError) as error:
                return error

        asked = list(keys)
        if len(asked) == 1:
            return {asked[0]: attempt(asked[0])}
        futures = {key: self._pool.submit(attempt, key) for key in asked}
        return {key: future.result() for key, future in futures.items()}

    def close_nodes(self) -> None:
        """Close the connections to data nodes, those of the locks too. Those to Sentinels stay."""
        for kind, address in list(self._clients):
            if kind != "sentinel":
                self._clients.pop((kind, address)).close()

    def close(self) -> None:
        """Close every connection and end every thread."""
        for listener in self._listeners:
            listener.stop()
        self._pool.shutdown(wait=True)
        for client in self._clients.values():
            client.close()
