# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's own promises: ready means ready, one process can be hurt alone, and nothing is left behind."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lab import Deployment, LabError, NotReadyError, Process, find_server
from lab.certificates import make_certificates
from lab.deployment import Place
from lab.ports import PortReservation
from lab.servers import known_specs


def runs(pid: int) -> bool:
    """Whether a process still does anything: an orphan that nobody reaps is over too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def none_runs(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(map(runs, pids))


def pids_of(deployment: Deployment) -> list[int]:
    return [process.pid for process in deployment.processes]


def named_by_sentinels(deployment: Deployment) -> set[str]:
    """Which addresses the Sentinels give as the master's."""
    answers = [sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") for sentinel in deployment.sentinels]
    return {f"{host}:{port}" for host, port in answers}


@pytest.fixture(scope="module")
def shared() -> Iterator[Deployment]:
    """A deployment that tests only look at."""
    with Deployment() as deployment:
        yield deployment


def test_a_ready_deployment_is_what_sentinel_says_it_is(shared: Deployment) -> None:
    master = shared.master()
    assert len(shared.replicas()) == 2
    assert len(shared.sentinels) == 3
    for sentinel in shared.sentinels:
        with sentinel.client() as client:
            assert client.sentinel_get_master_addr_by_name("mymaster") == (master.host, master.port)
            assert sorted(replica["port"] for replica in client.sentinel_slaves("mymaster")) == sorted(
                replica.port for replica in shared.replicas()
            )
            assert client.sentinel_master("mymaster")["quorum"] == 2
        assert sentinel.command("SENTINEL", "CKQUORUM", "mymaster").startswith("OK 3 usable Sentinels")


def test_a_write_reaches_every_replica(shared: Deployment) -> None:
    with shared.master().client() as client:
        client.set("key", "value")
        assert client.wait(2, 2000) == 2
    assert [replica.command("GET", "key") for replica in shared.replicas()] == ["value", "value"]


def test_the_description_names_every_process(shared: Deployment) -> None:
    description = json.loads(json.dumps(shared.describe()))
    assert [node["address"] for node in description["masters"]["mymaster"]] == [node.address for node in shared.nodes()]
    assert sorted(node["role"] for node in description["masters"]["mymaster"]) == ["master", "slave", "slave"]
    assert [sentinel["address"] for sentinel in description["sentinels"]] == shared.sentinel_addresses
    assert shared.process(shared.sentinel_addresses[0]) is shared.sentinels[0]


def test_configuration_can_be_rewritten(shared: Deployment) -> None:
    for replica in shared.replicas():
        assert replica.command("CONFIG", "SET", "replica-priority", "90")
        assert replica.command("CONFIG", "REWRITE")
        assert "replica-priority 90" in replica.config_path.read_text()


@pytest.mark.parametrize("spec", [known_specs()[0], known_specs()[-1]])
def test_the_oldest_server_and_the_newest_fail_over_by_themselves(spec: str) -> None:
    with Deployment(spec, down_after_ms=1000) as deployment:
        assert deployment.server.name.startswith(spec)
        old = deployment.master()
        old.kill()
        new = deployment.wait_for(deployment.master, 30, "another master")
        assert new is not old
        deployment.wait_for(lambda: named_by_sentinels(deployment) == {new.address}, 10, "every Sentinel to name it")


def test_a_deployment_is_ready_again_after_a_failover() -> None:
    # A replica that misses its order is led to the new master after failover-timeout. A busy machine does not answer within a second.
    with Deployment("valkey-9.1", down_after_ms=3000, failover_timeout_ms=10_000) as deployment:
        for sentinel in deployment.sentinels:
            # Sentinel would take a quarter of a minute to make the old master a replica.
            sentinel.command("SENTINEL", "DEBUG", "info-period", "200", "publish-period", "200")
        old = deployment.master()
        old.kill()
        new = deployment.wait_for(deployment.master, 30, "another master")
        old.start()
        deployment.wait_ready(60)
        assert deployment.master() is new
        assert named_by_sentinels(deployment) == {new.address}


def test_one_process_is_killed_paused_and_restarted_alone() -> None:
    with Deployment() as deployment:
        master, replica, sentinel = deployment.master(), deployment.replicas()[0], deployment.sentinels[0]
        others = [process for process in deployment.processes if process not in (replica, sentinel)]
        before = {process: process.pid for process in deployment.processes}

        sentinel.kill()
        assert not runs(before[sentinel])

        replica.pause()
        assert replica.paused
        assert replica.alive
        with pytest.raises(redis.TimeoutError):
            replica.command("PING", timeout_s=0.2)
        assert deployment.replicas() == [node for node in deployment.nodes() if node not in (master, replica)]
        replica.resume()
        assert replica.command("PING")

        replica.restart()
        sentinel.restart()
        assert replica.pid != before[replica]
        assert sentinel.pid != before[sentinel]
        assert all(process.alive and process.pid == before[process] for process in others)
        deployment.wait_ready()
        assert deployment.master() is master


def test_no_master_and_two_masters_are_told_apart() -> None:
    with Deployment(sentinels=0) as deployment:
        deployment.replicas()[0].command("REPLICAOF", "NO", "ONE")
        with pytest.raises(NotReadyError, match="2 nodes of mymaster are master"):
            deployment.master()
        for node in deployment.nodes():
            node.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(NotReadyError, match="0 nodes of mymaster are master"):
            deployment.master()


def test_two_deployments_do_not_meet(shared: Deployment) -> None:
    with Deployment(replicas=1) as other:
        addresses = [process.address for deployment in (shared, other) for process in deployment.processes]
        assert len(set(addresses)) == len(addresses)
        assert shared.folder != other.folder
        with other.master().client() as client:
            client.set("only here", "1")
        assert shared.master().command("GET", "only here") is None
    shared.wait_ready(5)


def test_sentinels_watch_several_masters() -> None:
    with Deployment(masters=("orders", "sessions"), replicas=1) as deployment:
        assert deployment.master("orders") is not deployment.master("sessions")
        for sentinel in deployment.sentinels:
            with sentinel.client() as client:
                for name in ("orders", "sessions"):
                    master = deployment.master(name)
                    assert client.sentinel_get_master_addr_by_name(name) == (master.host, master.port)


def test_nodes_are_spread_over_hosts() -> None:
    hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    with Deployment(masters=("orders", "sessions"), host=hosts) as deployment:
        for name in ("orders", "sessions"):
            assert tuple(node.host for node in deployment.nodes(name)) == hosts
        assert tuple(sentinel.host for sentinel in deployment.sentinels) == hosts


def test_configuration_lines_may_depend_on_the_place() -> None:
    def priority(place: Place) -> list[str]:
        return [f"replica-priority {10 * (place.index + 1)}"]

    with Deployment(
        node_config=priority,
        sentinel_config=["loglevel verbose"],
        sentinel_master_config=["sentinel notification-script {name} /bin/true"],
    ) as deployment:
        found = [node.command("CONFIG", "GET", "replica-priority") for node in deployment.nodes()]
        assert [_value(answer) for answer in found] == ["10", "20", "30"]
        with deployment.sentinels[0].client() as client:
            assert client.sentinel_master("mymaster")["notification-script"] == "/bin/true"


def _value(answer: Any) -> str:
    return str(answer["replica-priority"] if isinstance(answer, dict) else answer[1])


def test_base_port_gives_a_row_of_ports() -> None:
    with PortReservation() as ports:
        base_port = ports.take_row(6)
    with Deployment(base_port=base_port) as deployment:
        assert [process.port for process in deployment.processes] == list(range(base_port, base_port + 6))
        with pytest.raises(LabError, match=f"port {base_port} is in use"):
            Deployment(base_port=base_port).start()


def test_a_reserved_port_is_refused_to_another_process() -> None:
    with PortReservation() as ports:
        port = ports.take()
        question = f"from lab.ports import PortReservation; PortReservation().take({port})"
        refused = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=False)
        assert f"port {port} is in use" in refused.stderr
    subprocess.run([sys.executable, "-c", question], check=True)


def test_a_port_that_somebody_listens_on_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        PortReservation() as ports,
        pytest.raises(LabError, match="is in use"),
    ):
        ports.take(listener.getsockname()[1])


# Nothing is left behind


def test_stop_ends_everything_once_and_for_all() -> None:
    deployment = Deployment()
    deployment.start()
    pids, folder = pids_of(deployment), deployment.folder
    deployment.sentinels[0].pause()
    assert all(map(runs, pids))
    deployment.stop()
    assert not any(map(runs, pids))
    assert not folder.exists()
    deployment.stop()


def test_a_given_folder_is_kept(tmp_path: Path) -> None:
    with Deployment(folder=tmp_path / "lab", replicas=0, sentinels=0) as deployment:
        log = deployment.master().log_path
    assert log.parent == tmp_path / "lab"
    assert log.exists()


def test_an_exception_ends_everything() -> None:
    deployment = Deployment()

    def use() -> None:
        with deployment:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert len(pids_of(deployment)) == 6
    assert not any(map(runs, pids_of(deployment)))


def test_a_server_that_does_not_start_is_reported_with_its_log() -> None:
    deployment = Deployment(node_config=["no-such-directive yes"])
    with pytest.raises(LabError, match="no-such-directive"):
        deployment.start()
    assert not any(process.alive for process in deployment.processes)
    assert not deployment.folder.exists()


def test_waiting_in_vain_says_what_is_missing() -> None:
    with Deployment() as deployment:
        replica, sentinel = deployment.replicas()[0], deployment.sentinels[0]
        replica.stop()
        with pytest.raises(LabError) as failure:
            deployment.wait_ready(0.1)
        assert f"{replica.name} does not run" in str(failure.value)
        assert "ready to exit" in str(failure.value)
        replica.start()
        deployment.wait_ready()
        sentinel.command("SENTINEL", "REMOVE", "mymaster")
        with pytest.raises(LabError, match=f"{sentinel.name}: .*No such master"):
            deployment.wait_ready(0.1)
        with pytest.raises(LabError, match=r"waited 0\.1 s in vain for rain; seen last: False"):
            deployment.wait_for(lambda: False, 0.1, "rain")


def test_servers_outlive_the_thread_that_started_them() -> None:
    deployment = Deployment()
    thread = threading.Thread(target=deployment.start)
    thread.start()
    thread.join()
    try:
        deployment.wait_ready(5)
        pids = pids_of(deployment)
    finally:
        deployment.stop()
    assert not any(map(runs, pids))


def _heed_ctrl_c() -> None:
    """A shell starts what runs in its background with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def command_line(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`python -m lab up`, and what it says when it is ready."""
    command = [sys.executable, "-m", "lab", "up", "--json", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            line = process.stdout.readline()
            assert line, process.stderr.read()
            description = json.loads(line)
            yield process, description
            # A lab that is killed cannot remove it.
            shutil.rmtree(description["folder"], ignore_errors=True)
        finally:
            process.kill()


def described_pids(description: dict[str, Any]) -> list[int]:
    nodes = [node for nodes in description["masters"].values() for node in nodes]
    return [process["pid"] for process in nodes + description["sentinels"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_runs_until_it_is_told_to_end(number: signal.Signals) -> None:
    with command_line("--masters", "2", "--replicas", "1") as (process, description):
        pids = described_pids(description)
        assert len(pids) == 7
        assert all(map(runs, pids))
        process.send_signal(number)
        assert process.wait(60) == 0
        assert not any(map(runs, pids))
        assert not Path(description["folder"]).exists()


def test_nothing_survives_the_death_of_the_lab(tmp_path: Path) -> None:
    with Deployment(replicas=0, sentinels=0, folder=tmp_path) as unharmed:
        with command_line() as (process, description):
            pids = described_pids(description)
            assert all(map(runs, pids))
            process.kill()
            process.wait(60)
            unharmed.wait_for(none_runs(pids), 10, "the end of the servers")
        assert unharmed.master().command("PING")


def test_up_reports_what_is_wrong() -> None:
    command = [sys.executable, "-m", "lab", "up", "--server", "redis-1.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("lab: no server 'redis-1.0' is known; known are redis-6.0")


# Passwords and TLS


def test_the_lab_logs_in_where_passwords_are_asked_for() -> None:
    with Deployment(
        "redis-7.0",
        node_config=["requirepass nodes", "masterauth nodes"],
        node_auth=(None, "nodes"),
        sentinel_config=[
            "user operator on >sentinels ~* &* +@all",
            "requirepass between",
            "sentinel sentinel-pass between",
        ],
        sentinel_master_config=["sentinel auth-pass {name} nodes"],
        sentinel_auth=("operator", "sentinels"),
    ) as deployment:
        for process in deployment.processes:
            with client_of(process) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
        assert deployment.sentinels[0].command("ACL", "WHOAMI") == "operator"


def test_a_wrong_password_of_the_lab_is_reported() -> None:
    with pytest.raises(LabError, match="cannot log in to mymaster-0"):
        Deployment(node_config=["requirepass right"], node_auth=(None, "wrong")).start()


def test_everything_speaks_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with Deployment("redis-7.0", tls=certificates) as deployment:
        for process in deployment.processes:
            with client_of(process) as plain, pytest.raises(redis.ConnectionError):
                plain.ping()
            without_certificate = certificates.client_options() | {"ssl_certfile": None, "ssl_keyfile": None}
            # The server tells that it wants one only after the client's part of the handshake is over.
            with client_of(process, without_certificate) as anonymous, pytest.raises((redis.ConnectionError, OSError)):
                anonymous.ping()


def client_of(process: Process, tls: dict[str, Any] | None = None) -> redis.Redis:
    """A client that does not log in, and does not try again."""
    return redis.Redis(host=process.host, port=process.port, protocol=2, retry=Retry(NoBackoff(), 0), **(tls or {}))


@pytest.mark.parametrize(
    ("shown", "reason"),
    [("server", None), ("expired", "certificate has expired"), ("wrong_name", "IP address mismatch")],
)
def test_certificates_are_good_or_bad_as_named(tmp_path: Path, shown: str, reason: str | None) -> None:
    certificates = make_certificates(tmp_path)
    pair = getattr(certificates, shown)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pair.cert, pair.key)
    assert _handshake(ssl.create_default_context(cafile=certificates.ca), server_side) == reason
    assert _handshake(ssl.create_default_context(cafile=certificates.other_ca), server_side) is not None


def _handshake(client_side: ssl.SSLContext, server_side: ssl.SSLContext) -> str | None:
    """Why the client refuses the server, in memory; None if it does not."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _look in range(3):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return next(
                    (word for word in ("certificate has expired", "IP address mismatch") if word in str(error)),
                    str(error),
                )
    assert client.version()
    return None


# Servers


def test_a_server_is_found_by_name_and_by_path() -> None:
    installed = find_server("redis-6.2")
    assert (installed.name, installed.family, installed.version) == ("redis-6.2.5", "redis", (6, 2, 5))
    by_path = find_server(installed.argv[-1])
    assert by_path == installed
    assert find_server("redis-6") == find_server("redis-6.0")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("redis-5.0", "no server 'redis-5.0' is known"),
        ("/bin/true", "no Redis or Valkey server"),
        ("/no/such", "not a file"),
    ],
)
def test_a_server_that_cannot_be_had_is_refused(spec: str, reason: str) -> None:
    with pytest.raises(LabError, match=reason):
        find_server(spec)


def test_two_processes_may_install_the_same_server_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_HA_LAB_CACHE", str(tmp_path))
    command = [sys.executable, "-m", "lab", "servers", "redis-6.2"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second,
    ):
        answers = [process.communicate(timeout=100)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert answers[0] == answers[1]
    assert answers[0].split() == ["redis-6.2.5", str(tmp_path / "redis-6.2/bin/redis-server")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".redis-6.2.lock", "redis-6.2"]
