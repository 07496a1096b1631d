# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients against a small server on loopback that does as it is told: closes, hangs, refuses, speaks something else."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils import _connection
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import (
    Access,
    Client,
    ConnectionOptions,
    Fleet,
    Tls,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    AuthError,
    LinkError,
    RefusedError,
    ReplyError,
    TlsError,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._tls import unusable_file

from lab.certificates import make_certificates

CLOSE = "close"
HANG = "hang"
OPEN = Access()


class Server:
    """Reads commands and answers each with the next line of a script; keeps what it got.

    An answer is raw bytes, ``CLOSE``, ``HANG``, or a function that makes it of the command.
    """

    def __init__(self, script: list[Any] | Callable[[list[str]], Any]) -> None:
        self.commands: list[list[str]] = []
        self.connections = 0
        self._script = script
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        for connection in self._open:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _peer = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        # One at a time, and the next as soon as this one hangs or closes.
        stream = connection.makefile("rb")
        while True:
            try:
                count = stream.readline()
                if not count:
                    return
                if not count.startswith(b"*"):
                    connection.close()
                    return
                words = [stream.read(int(stream.readline()[1:]) + 2)[:-2].decode() for _word in range(int(count[1:]))]
            except (OSError, ValueError):
                return
            self.commands.append(words)
            answer = self._script(words) if callable(self._script) else self._script.pop(0)
            if answer == HANG:
                return
            if answer == CLOSE:
                connection.shutdown(socket.SHUT_RDWR)
                return
            connection.sendall(answer)


@contextmanager
def serving(*script: Any, answer: Callable[[list[str]], Any] | None = None) -> Iterator[Server]:
    server = Server(answer or list(script))
    try:
        yield server
    finally:
        server.stop()


def said(*words: str) -> bytes:
    """A list of words, as a server sends it."""
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


@contextmanager
def client(address: Address, access: Access = OPEN, timeout_s: float = 2.0) -> Iterator[Client]:
    fleet = Fleet(ConnectionOptions((address,), node_access=access, connect_timeout_s=timeout_s))
    try:
        yield fleet.node(address)
    finally:
        fleet.close()


# ---- sent once, sent twice -----------------------------------------------------------------------------------------


def test_an_answer() -> None:
    with (
        serving(b"+PONG\r\n", b"$2\r\nhi\r\n", b":7\r\n", b"*2\r\n$1\r\na\r\n*-1\r\n") as server,
        client(server.address) as it,
    ):
        assert it.ask("PING") == "PONG"
        assert it.ask("GET", "k") == "hi"
        assert it.order("INCR", "k") == 7
        assert it.ask("X") == ["a", None]
        assert server.connections == 1
        assert server.commands == [["PING"], ["GET", "k"], ["INCR", "k"], ["X"]], "and nothing else, no HELLO, no name"


def test_an_order_to_a_server_that_closes_arrives_once() -> None:
    with serving(b"+PONG\r\n", CLOSE, b"+OK\r\n") as server, client(server.address) as it:
        it.ask("PING")
        with pytest.raises(LinkError) as caught:
            it.order("SENTINEL", "FAILOVER", "mymaster")
        assert caught.value.sent
        assert server.commands.count(["SENTINEL", "FAILOVER", "mymaster"]) == 1


def test_an_order_on_a_new_connection_arrives_once() -> None:
    with serving(CLOSE, b"+OK\r\n") as server, client(server.address) as it:
        with pytest.raises(LinkError) as caught:
            it.order("SENTINEL", "FAILOVER", "mymaster")
        assert caught.value.sent
        assert len(server.commands) == 1


def test_an_order_that_is_not_answered_arrives_once() -> None:
    with serving(b"+PONG\r\n", HANG, b"+OK\r\n") as server, client(server.address) as it:
        it.ask("PING")
        began_s = time.monotonic()
        with pytest.raises(LinkError, match="does not answer in time") as caught:
            it.order("SENTINEL", "FAILOVER", "mymaster", timeout_s=0.2)
        assert 0.2 <= time.monotonic() - began_s < 3.0
        assert caught.value.sent
        assert len(server.commands) == 2


def test_what_has_not_arrived_of_an_order_never_will() -> None:
    """Else the system would send the rest whenever the way is free again: a failover that was given up."""
    order = ("SENTINEL", "FAILOVER", "x" * 60_000)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with client(Address(*listening.getsockname())) as it:
            with pytest.raises(LinkError, match="does not answer in time") as caught:
                it.order(*order, timeout_s=0.2)
            assert caught.value.sent
            assert received_by(listening) < 60_000


def received_by(listening: socket.socket) -> int:
    """How many bytes arrive on a connection in all."""
    server, _peer = listening.accept()
    count = 0
    with server, contextlib.suppress(OSError):
        while arrived := server.recv(4096):
            count += len(arrived)
    return count


def test_a_transaction_arrives_once() -> None:
    with serving(b"+PONG\r\n", b"+OK\r\n", b"+QUEUED\r\n", CLOSE, b"+OK\r\n") as server, client(server.address) as it:
        it.ask("PING")
        with pytest.raises(LinkError) as caught:
            it.transact(("REPLICAOF", "h", 1))
        assert caught.value.sent
        assert server.commands.count(["REPLICAOF", "h", "1"]) == 1


def test_a_question_is_asked_once_more_where_the_connection_had_been_closed() -> None:
    with serving(b"+PONG\r\n", CLOSE, b"+PONG\r\n") as server, client(server.address) as it:
        it.ask("PING")
        assert it.ask("PING") == "PONG"
        assert len(server.commands) == 3


def test_a_question_is_asked_twice_at_most() -> None:
    with serving(b"+PONG\r\n", CLOSE, CLOSE, b"+PONG\r\n") as server, client(server.address) as it:
        it.ask("PING")
        with pytest.raises(LinkError):
            it.ask("PING")
        assert len(server.commands) == 3


def test_a_question_on_a_new_connection_is_asked_once() -> None:
    with serving(CLOSE, b"+PONG\r\n") as server, client(server.address) as it:
        with pytest.raises(LinkError):
            it.ask("PING")
        assert len(server.commands) == 1


def test_a_question_that_is_not_answered_is_not_repeated() -> None:
    with serving(b"+PONG\r\n", HANG, b"+PONG\r\n") as server, client(server.address, timeout_s=0.2) as it:
        it.ask("PING")
        with pytest.raises(LinkError, match="in time"):
            it.ask("PING")
        assert len(server.commands) == 2


def test_after_a_lost_answer_the_next_one_is_not_taken_for_it() -> None:
    with serving(HANG, b"+second\r\n") as server, client(server.address) as it:
        with pytest.raises(LinkError):
            it.ask("FIRST", timeout_s=0.1)
        assert it.ask("SECOND") == "second"
        assert server.connections == 2


# ---- errors --------------------------------------------------------------------------------------------------------


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(*taken.getsockname())
    with client(address) as it, pytest.raises(LinkError, match="refused") as caught:
        it.order("SENTINEL", "FAILOVER", "mymaster")
    assert (caught.value.sent, caught.value.code) == (False, "unreachable")


def test_a_name_that_leads_nowhere() -> None:
    with (
        client(Address("no-such-host.invalid", 1)) as it,
        pytest.raises(LinkError, match="cannot be resolved") as caught,
    ):
        it.ask("PING")
    assert not caught.value.sent


@pytest.mark.parametrize(
    ("line", "prefix", "message"),
    [
        (b"-ERR unknown command\r\n", "ERR", "unknown command"),
        (b"-NOGOODSLAVE No suitable replica to promote\r\n", "NOGOODSLAVE", "No suitable replica to promote"),
        (b"-INPROG Failover already in progress\r\n", "INPROG", "Failover already in progress"),
        # Servers before 7.2 do not name the user.
        (b"-NOPERM this user has no permissions\r\n", "NOPERM", "user default has no permissions"),
        (b"-NOPERM User ops has no permissions\r\n", "NOPERM", "User ops has no permissions"),
        (b"-READONLY You can't write against a read only replica.\r\n", "READONLY", "You can't write"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN", "Link with MASTER is down"),
        (b"-NOQUORUM 1 usable Sentinels.\r\n", "NOQUORUM", "1 usable"),
        (b"-EXECABORT Transaction discarded because of previous errors.\r\n", "EXECABORT", "Transaction discarded"),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", "NOREPLICAS", "Not enough"),
    ],
)
def test_an_error_is_told_with_its_first_word(line: bytes, prefix: str, message: str) -> None:
    with serving(line) as server, client(server.address) as it:
        with pytest.raises(ReplyError) as caught:
            it.order("X")
        assert caught.value.prefix == prefix
        assert caught.value.message.startswith(message)
        assert caught.value.address == str(server.address)


def test_a_server_that_loads_its_data_is_left_and_asked_on_a_new_connection() -> None:
    """redis-py closes the connection at -LOADING: it must not open another behind our back, one without our name."""
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    with serving(loading, loading) as server, client(server.address) as it:
        with pytest.raises(LinkError, match="loading"):
            it.order("X")
        with pytest.raises(LinkError, match="loading"):
            it.order("X")
        assert server.connections == 2


def test_an_error_leaves_the_connection_in_use() -> None:
    with serving(b"-ERR no\r\n", b"+PONG\r\n") as server, client(server.address) as it:
        with pytest.raises(ReplyError):
            it.ask("PING")
        assert it.ask("PING") == "PONG"
        assert server.connections == 1


@pytest.mark.parametrize("line", [b"-NOAUTH Authentication required.\r\n"])
def test_a_server_that_wants_a_password(line: bytes) -> None:
    with serving(line) as server, client(server.address) as it:
        with pytest.raises(AuthError) as caught:
            it.order("PING")
        assert (caught.value.code, caught.value.sent) == ("auth", False)
        assert caught.value.message == "it refuses the login: Authentication required"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [("it is so", "it is so. Do this."), ("it is so.", "it is so. Do this."), ("is it?", "is it? Do this.")],
)
def test_a_message_and_a_remedy_are_two_sentences(message: str, sentence: str) -> None:
    assert RefusedError("code", message, "Do this.").sentence == sentence


@pytest.mark.parametrize(
    "line",
    [
        b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        b"-ERR Client sent AUTH, but no password is set\r\n",
        b"-ERR invalid password\r\n",
    ],
)
def test_a_server_that_refuses_the_password(line: bytes) -> None:
    with serving(answer=lambda _words: line) as server, client(server.address, Access("ops", "hidden")) as it:
        with pytest.raises(AuthError) as caught:
            it.ask("PING")
        assert "hidden" not in str(caught.value)
        assert server.commands[0] == ["AUTH", "ops", "hidden"]
        assert ["PING"] not in server.commands


def test_a_password_without_a_user() -> None:
    with serving(b"+OK\r\n", b"+PONG\r\n") as server, client(server.address, Access(None, "hidden")) as it:
        assert it.ask("PING") == "PONG"
        assert server.commands[0] == ["AUTH", "hidden"]


@pytest.mark.parametrize("validate", [True, False])
def test_tls_to_a_server_that_speaks_none(validate: bool) -> None:
    with serving(b"+PONG\r\n") as server, client(server.address, Access(tls=Tls(validate))) as it:
        with pytest.raises(LinkError) as caught:
            it.order("PING")
        assert not caught.value.sent


@pytest.mark.parametrize(
    ("shown", "trusted", "text"),
    [
        ("server", None, "signed by no authority that is trusted here"),
        ("server", "other_ca", "signed by no authority that is trusted here"),
        ("expired", "ca", "its certificate has expired"),
        ("wrong_name", "ca", "its certificate is for another host"),
    ],
)
def test_a_certificate_that_does_not_hold(shown: str, trusted: str | None, text: str, certificates: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = getattr(certificates, shown)
    context.load_cert_chain(pair.cert, pair.key)
    refused: list[BaseException] = []

    def serve() -> None:
        connection, _peer = listener.accept()
        try:
            context.wrap_socket(connection, server_side=True).recv(1)
        except OSError as error:
            refused.append(error)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        access = Access(tls=Tls(True, str(getattr(certificates, trusted)) if trusted else None))
        with client(Address(*listener.getsockname()), access) as it, pytest.raises(TlsError, match=text) as caught:
            it.order("PING")
        thread.join(5)
    assert (caught.value.code, caught.value.sent) == ("tls", False)
    assert refused


@contextmanager
def serving_tls(
    certificates: Any, *connections: list[bytes], wants_certificate: bool = False, read: threading.Event | None = None
) -> Iterator[Address]:
    """Takes connections one after the other, answers whatever comes with these lines, and closes each without a word of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.cert, certificates.server.key)
    if wants_certificate:
        context.load_verify_locations(certificates.ca)
        context.verify_mode = ssl.CERT_REQUIRED

    def serve() -> None:
        for answers in connections:
            connection, _peer = listener.accept()
            with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secured:
                try:
                    secured.do_handshake()
                except ssl.SSLError:
                    # What came after the handshake is taken in: what is left unread makes a reset of the end, which may overtake the alert.
                    while os.read(secured.fileno(), 1000):
                        pass
                    continue
                for answer in answers:
                    secured.recv(1000)
                    secured.sendall(answer)
                if answers is not connections[-1]:
                    # Closed as by a server that was killed: with a reset. What it sent before has to be read by then.
                    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    (read or threading.Event()).wait(5)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Address(*listener.getsockname())
        thread.join(5)
        assert not thread.is_alive()


def test_over_tls_a_connection_that_was_closed_is_made_again(certificates: Any) -> None:
    """Sentinel closes the connections of a node whose role it changes, and what TLS says then is no failed handshake."""
    access, read = Access(tls=Tls(True, str(certificates.ca))), threading.Event()
    answers = [b"+PONG\r\n"], [b"+PONG\r\n"]
    with serving_tls(certificates, *answers, read=read) as address, client(address, access) as it:
        assert it.ask("PING") == "PONG"
        read.set()
        # The end of the connection has come here before the next command is sent.
        wait_until_readable(it)
        assert it.ask("PING") == "PONG"


def test_over_tls_an_order_whose_answer_was_lost_may_have_arrived(certificates: Any) -> None:
    access = Access(tls=Tls(True, str(certificates.ca)))
    with serving_tls(certificates, [b"+PONG\r\n", b""]) as address, client(address, access) as it:
        assert it.ask("PING") == "PONG"
        with pytest.raises(LinkError) as caught:
            it.order("REPLICAOF", "h", 1)
    assert (caught.value.code, caught.value.sent) == ("unreachable", True)


def wait_until_readable(it: Client) -> None:
    select.select([it._connection._sock], [], [], 5)


@pytest.mark.parametrize("pair", [None, "expired", "foreign"])
@pytest.mark.parametrize("password", [None, "hidden"])
def test_a_server_that_refuses_our_certificate(
    pair: str | None, password: str | None, certificates: Any, tmp_path: Path
) -> None:
    foreign = make_certificates(tmp_path).client
    shown = foreign if pair == "foreign" else getattr(certificates, pair) if pair else None
    files = (str(shown.cert), str(shown.key)) if shown else (None, None)
    access = Access(password=password, tls=Tls(True, str(certificates.ca), *files))
    refused = pytest.raises(TlsError, match="it refuses the client certificate, or wants one")
    with (
        serving_tls(certificates, [], wants_certificate=True) as address,
        client(address, access) as it,
        refused as caught,
    ):
        it.order("PING")
    assert not caught.value.sent


def test_a_server_that_ends_the_handshake_without_a_word_does_not_want_our_certificate(certificates: Any) -> None:
    access = Access(tls=Tls(True, str(certificates.ca)))
    with serving_tls(certificates, [b""]) as address, client(address, access) as it:
        with pytest.raises(TlsError) as caught:
            it.order("PING")
        assert "it refuses the client certificate, or wants one (it closed the connection)" in caught.value.message


def test_over_tls_nobody_who_listens_is_told_as_without(certificates: Any) -> None:
    access = Access(tls=Tls(True, str(certificates.ca)))
    with client(Address("127.0.0.1", 1), access) as it, pytest.raises(LinkError, match="Connection refused") as caught:
        it.order("PING")
    assert (type(caught.value), caught.value.sent) == (LinkError, False)


def test_a_server_that_closes_at_once_may_want_tls() -> None:
    refused = pytest.raises(
        LinkError, match=r"it closes the connection without an answer .*; if it speaks TLS only, set tls"
    )
    with refused, serving(CLOSE) as server, client(server.address) as it:
        it.order("PING")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, ""),
        ({"ca_certs": "/nowhere"}, "ca_certs=/nowhere cannot be read: No such file or directory"),
        ({"client_key_file": "/nowhere"}, "client_key_file=/nowhere cannot be read: No such file or directory"),
        ({"ca_certs": "server.key"}, "ca_certs=server.key holds no certificate in PEM form"),
        ({"client_key_file": "server.key"}, "client_key_file=server.key is not the key of client_cert_file=client.crt"),
        (
            {"client_cert_file": "client.key"},
            "client_cert_file=client.key and client_key_file=client.key are no certificate and key in PEM form without a passphrase",
        ),
    ],
)
def test_files_that_cannot_be_used(
    given: dict[str, str], wrong: str, certificates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(certificates.ca.parent)
    usable = {"ca_certs": "ca.crt", "client_cert_file": "client.crt", "client_key_file": "client.key"}
    assert unusable_file(**{**usable, **given}) == wrong


def test_without_files_the_system_is_trusted() -> None:
    assert unusable_file(None, None, None) == ""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


# ---- transactions --------------------------------------------------------------------------------------------------


def test_a_transaction_gives_the_answers_of_its_commands() -> None:
    lines = {"MULTI": b"+OK\r\n", "EXEC": b"*2\r\n$4\r\ninfo\r\n+OK\r\n"}
    with serving(answer=lambda words: lines.get(words[0], b"+QUEUED\r\n")) as server, client(server.address) as it:
        assert it.transact(("INFO",), ("CLIENT", "UNPAUSE")) == ["info", "OK"]
        assert server.commands == [["MULTI"], ["INFO"], ["CLIENT", "UNPAUSE"], ["EXEC"]]


def test_refused_while_it_is_queued_the_reason_is_told() -> None:
    lines = {"MULTI": b"+OK\r\n", "REPLICAOF": b"-NOPERM no\r\n", "EXEC": b"-EXECABORT Transaction discarded\r\n"}
    with serving(answer=lambda words: lines.get(words[0], b"+QUEUED\r\n")) as server, client(server.address) as it:
        with pytest.raises(ReplyError) as caught:
            it.transact(("REPLICAOF", "h", 1), ("CLIENT", "UNPAUSE"))
        assert caught.value.prefix == "NOPERM"


def test_refused_when_it_runs() -> None:
    lines = {"MULTI": b"+OK\r\n", "EXEC": b"*2\r\n-ERR not while failing over\r\n+OK\r\n"}
    with (
        serving(answer=lambda words: lines.get(words[0], b"+QUEUED\r\n")) as server,
        client(server.address) as it,
        pytest.raises(ReplyError, match="not while failing over"),
    ):
        it.transact(("REPLICAOF", "h", 1), ("CLIENT", "UNPAUSE"))


def test_multi_refused_nothing_runs() -> None:
    with serving(answer=lambda words: b"-NOPERM no\r\n" if words[0] == "MULTI" else b"+OK\r\n") as server:
        with client(server.address) as it, pytest.raises(ReplyError):
            it.transact(("REPLICAOF", "h", 1))
        assert ["REPLICAOF", "h", "1"] not in server.commands


TRIED = {"CONFIG": ("CONFIG", "REWRITE"), "REPLICAOF": ("REPLICAOF", "NO", "ONE")}


def refusals(**lines: bytes) -> tuple[dict[str, str], list[list[str]]]:
    """What a server that answers so is found to refuse, and what it was sent."""
    known = {"MULTI": b"+OK\r\n", "DISCARD": b"+OK\r\n", "EXEC": b"*0\r\n", **lines}
    with serving(answer=lambda words: known.get(words[0], b"+QUEUED\r\n")) as server, client(server.address) as it:
        found = {name: error.prefix for name, error in it.refusals(TRIED).items()}
        return found, server.commands


def test_commands_are_tried_and_none_of_them_runs() -> None:
    found, sent = refusals(CONFIG=b"-NOPERM no\r\n")
    assert found == {"CONFIG": "NOPERM"}
    assert [words[0] for words in sent] == ["MULTI", "CONFIG", "REPLICAOF", "DISCARD", "MULTI", "EXEC"]


def test_where_multi_is_refused_nothing_is_tried() -> None:
    found, sent = refusals(MULTI=b"-NOPERM no\r\n")
    assert found == {"MULTI": "NOPERM"}
    assert sent == [["MULTI"]], "without it the commands would run"


def test_where_discard_is_refused_the_connection_is_given_up_with_what_it_holds() -> None:
    known = {"MULTI": b"+OK\r\n", "DISCARD": b"-NOPERM no\r\n", "EXEC": b"*0\r\n"}
    with serving(answer=lambda words: known.get(words[0], b"+QUEUED\r\n")) as server, client(server.address) as it:
        assert it.refusals(TRIED).keys() == {"DISCARD"}
        assert server.connections == 2, "EXEC on the first one would run them"


def test_where_exec_is_refused_the_connection_is_given_up() -> None:
    known = {"MULTI": b"+OK\r\n", "DISCARD": b"+OK\r\n", "EXEC": b"-NOPERM no\r\n"}
    with serving(answer=lambda words: known.get(words[0], b"+QUEUED\r\n")) as server, client(server.address) as it:
        assert it.refusals(TRIED).keys() == {"EXEC"}
        it.ask("PING")
        assert server.connections == 2, "the first one is still in MULTI"


def test_several_questions_keep_their_errors_in_place() -> None:
    with serving(b"+a\r\n", b"-ERR b\r\n", b"+c\r\n") as server, client(server.address) as it:
        first, second, third = it.ask_many([("A",), ("B",), ("C",)], keep_errors=True)
        assert (first, third) == ("a", "c")
        assert isinstance(second, ReplyError)


def test_a_name_is_given_again_to_the_next_connection() -> None:
    script = [b"+OK\r\n", CLOSE, b"+OK\r\n", b"+PONG\r\n"]
    with serving(*script) as server, client(server.address) as it:
        it.set_name("ours")
        assert it.ask("PING") == "PONG"
        assert server.commands[2] == ["CLIENT", "SETNAME", "ours"]


# ---- fleet ---------------------------------------------------------------------------------------------------------

MAP = {
    "10.0.0.1:6379": "127.0.0.1:7001",
    "10.0.0.2": "db2.example",
    "10.0.0.3:6379": "db3",
    "::1": "10.9.9.9",
    "[::2]:1": "[::3]:2",
}


@pytest.mark.parametrize(
    ("announced", "reached"),
    [
        (Address("10.0.0.1", 6379), Address("127.0.0.1", 7001)),
        (Address("10.0.0.1", 26379), Address("10.0.0.1", 26379)),
        (Address("10.0.0.2", 6379), Address("db2.example", 6379)),
        (Address("10.0.0.3", 6379), Address("db3", 6379)),
        (Address("10.0.0.3", 6380), Address("10.0.0.3", 6380)),
        (Address("::1", 6379), Address("10.9.9.9", 6379)),
        (Address("::2", 1), Address("::3", 2)),
        (Address("10.0.0.9", 6379), Address("10.0.0.9", 6379)),
    ],
)
def test_address_map(announced: Address, reached: Address) -> None:
    assert ConnectionOptions((), address_map=MAP).reachable(announced) == reached


def test_two_names_of_one_server_are_one() -> None:
    fleet = Fleet(ConnectionOptions(()))
    try:
        assert fleet.endpoint(Address("127.0.0.1", 1)) == fleet.endpoint(Address("127.0.0.1", 1))
        assert fleet.endpoint(Address("localhost", 1)).host in ("127.0.0.1", "::1")
        assert fleet.endpoint(Address("No-Such-Host.invalid", 1)) == Address("no-such-host.invalid", 1)
    finally:
        fleet.close()


def test_several_are_asked_side_by_side() -> None:
    with serving(HANG) as one, serving(HANG) as other, serving(b"+PONG\r\n") as third:
        fleet = Fleet(ConnectionOptions(()))
        try:
            began_s = time.monotonic()
            answers = fleet.gather(
                [one.address, other.address, third.address],
                lambda address: fleet.node(address).ask("PING", timeout_s=1.0),
            )
            assert time.monotonic() - began_s < 1.9
        finally:
            fleet.close()
        assert isinstance(answers[one.address], LinkError)
        assert isinstance(answers[other.address], LinkError)
        assert answers[third.address] == "PONG"


def test_events_are_handed_on_until_the_connection_is_lost() -> None:
    confirmation = b"*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n"
    event = b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$5\r\n+tilt\r\n$18\r\n#tilt mode entered\r\n"
    heard: list[tuple[Address, Event]] = []
    arrived = threading.Event()

    def hear(address: Address, _at_s: float, it: Event) -> None:
        heard.append((address, it))
        if it.channel == "events-lost":
            arrived.set()

    with serving(confirmation + event) as server:
        fleet = Fleet(ConnectionOptions((server.address,)))
        try:
            fleet.listen(server.address, hear)
            server._open[0].shutdown(socket.SHUT_WR)
            assert arrived.wait(3)
        finally:
            fleet.close()
        assert [(address, it.channel) for address, it in heard] == [
            (server.address, "+tilt"),
            (server.address, "events-lost"),
        ]


def test_a_sentinel_that_refuses_events() -> None:
    with serving(b"-NOPERM no\r\n") as server:
        fleet = Fleet(ConnectionOptions((server.address,)))
        try:
            with pytest.raises(LinkError, match="sends no events"):
                fleet.listen(server.address, lambda *_: None)
        finally:
            fleet.close()


def test_a_renamed_command_is_sent_by_its_new_name_to_nodes_alone() -> None:
    with serving(answer=lambda _words: b"+OK\r\n") as server:
        fleet = Fleet(ConnectionOptions((), renamed_commands={"CONFIG": "ADMINCONFIG", "CLIENT": "ADMINCLIENT"}))
        try:
            fleet.node(server.address).set_name("mine")
            fleet.node(server.address).ask("CONFIG", "GET", "CONFIG")
            fleet.node(server.address).close()
            fleet.node(server.address).order("PING")
            fleet.node(server.address).close()
            fleet.sentinel(server.address).ask("CONFIG", "GET", "x")
        finally:
            fleet.close()
    assert server.commands == [
        ["ADMINCLIENT", "SETNAME", "mine"],
        ["ADMINCONFIG", "GET", "CONFIG"],
        ["ADMINCLIENT", "SETNAME", "mine"],
        ["PING"],
        ["CONFIG", "GET", "x"],
    ]


def test_a_server_without_a_connection_left_says_so() -> None:
    with serving(b"-ERR max number of clients reached\r\n") as server:
        fleet = Fleet(ConnectionOptions(()))
        try:
            with pytest.raises(LinkError) as failure:
                fleet.node(server.address).ask("INFO")
        finally:
            fleet.close()
    assert (failure.value.code, failure.value.sent) == ("clients", False)
    assert "maxclients" in failure.value.message


def test_what_is_published_on_a_node_is_heard_until_it_is_enough() -> None:
    heard: list[str] = []

    def is_enough(text: str) -> bool:
        heard.append(text)
        return text == "one"

    hello = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + said("message", "c", "one") + said("message", "c", "two")
    with serving(hello, HANG) as server:
        fleet = Fleet(ConnectionOptions(()))
        try:
            fleet.hear(server.address, "c", 5.0, is_enough)
            began_s = time.monotonic()
            with pytest.raises(LinkError):
                fleet.hear(Address("127.0.0.1", 1), "c", 5.0, lambda _text: True)
        finally:
            fleet.close()
    assert heard == ["one"]
    assert time.monotonic() - began_s < 4


def test_events_end_with_the_fleet_and_what_is_no_event_is_left_out() -> None:
    heard: list[str] = []
    arrived = threading.Event()

    def hear(_address: Address, _at_s: float, it: Event) -> None:
        heard.append(it.channel)
        arrived.set()

    confirmation = b"*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n"
    with serving(confirmation + said("pong", "") + said("pmessage", "*", "+tilt", "#tilt mode entered")) as server:
        fleet = Fleet(ConnectionOptions((server.address,)))
        fleet.listen(server.address, hear)
        assert arrived.wait(3)
        fleet.close()
        assert not [thread for thread in threading.enumerate() if thread.name == f"events of {server.address}"]
    assert heard == ["+tilt"], "that we closed the connection is no news"


def test_who_has_not_heard_enough_listens_until_the_time_is_up() -> None:
    heard: list[str] = []

    def is_never_enough(text: str) -> bool:
        heard.append(text)
        return False

    hello = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + said("pong", "") + said("message", "c", "one")
    with serving(hello, HANG) as server:
        fleet = Fleet(ConnectionOptions(()))
        began_s = time.monotonic()
        try:
            fleet.hear(server.address, "c", 0.3, is_never_enough)
        finally:
            fleet.close()
    assert heard == ["one"]
    assert time.monotonic() - began_s >= 0.3


def test_connections_to_nodes_can_be_closed_alone() -> None:
    with serving(answer=lambda _words: b"+PONG\r\n") as node, serving(answer=lambda _words: b"+PONG\r\n") as sentinel:
        fleet = Fleet(ConnectionOptions(()))
        try:
            for _time in range(2):
                fleet.node(node.address).ask("PING")
                fleet.node(node.address).close()
                fleet.lock(node.address).ask("PING")
                fleet.sentinel(sentinel.address).ask("PING")
                fleet.close_nodes()
        finally:
            fleet.close()
    assert (node.connections, sentinel.connections) == (4, 1)


def test_other_clients_of_the_same_deployment_log_in_as_they_are_told() -> None:
    with serving(answer=lambda _words: b"+OK\r\n") as server:
        fleet = Fleet(ConnectionOptions((), node_access=Access("ops", "ours")))
        replica = fleet.with_node_access(Access("repl", "theirs"))
        try:
            replica.node(server.address).ask("PING")
            fleet.node(server.address)
        finally:
            replica.close()
            fleet.close()
    assert server.commands == [["AUTH", "repl", "theirs"], ["PING"]]


# ---- versions of redis-py ------------------------------------------------------------------------------------------


class OldConnection:
    """Of redis-py 3.5: it takes no retry, no protocol, and tells no server what it is."""

    def __init__(self, **options: Any) -> None:
        self.options = options


class LaterConnection(OldConnection):
    """Of redis-py 5: it tells the server its name, unless that is nothing."""

    def __init__(self, lib_name: str = "redis-py", lib_version: str = "5", **options: Any) -> None:
        super().__init__(lib_name=lib_name, lib_version=lib_version, **options)


@pytest.mark.parametrize(
    ("kind", "names"),
    [(OldConnection, {}), (LaterConnection, {"lib_name": None, "lib_version": None})],
    ids=["3.5", "5.0"],
)
def test_a_connection_is_told_only_what_its_redis_py_knows(
    kind: Any, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "Connection", kind)
    made = _connection._open(Address("10.0.0.1", 6379), Access("ops", "hidden"), 3.0)
    told = {name: value for name, value in made.options.items() if name not in OF_EVERY_VERSION}
    assert told == names
    assert (made.options["username"], made.options["socket_timeout"]) == ("ops", 3.0)


OF_EVERY_VERSION = {
    *("host", "port", "username", "password", "socket_timeout", "socket_connect_timeout", "socket_keepalive"),
    *("decode_responses", "encoding_errors"),
}


def test_without_redis_py_the_collection_loads_and_knows_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    spec = importlib.util.spec_from_file_location("connection_without_redis", str(_connection.__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "connection_without_redis", module)
    spec.loader.exec_module(module)
    assert "ModuleNotFoundError" in module.REDIS_IMPORT_ERROR
    assert _connection.REDIS_IMPORT_ERROR is None
