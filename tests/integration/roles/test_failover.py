# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role failover and its playbook: everything around the move, and the truth about it however it ends."""

from __future__ import annotations

import re
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pexpect
import pytest
import redis

from lab import Deployment, Process, compiled
from lab.pages import blocks, command_of_a_page, with_addresses
from lab.playbooks import PlaybookRun, Workspace

# Many runs of a playbook, one after the other: begun early, they are not what the others wait for in the end.
pytestmark = pytest.mark.timeout(600)
PROJECT = Path(__file__).parent / "project"
TASKS, SKIPPED = 20, 3
"""The figures to reach: how many tasks a normal run shows, and how many of them were skipped."""
LONGEST_LINE = 2000
"""Letters in the longest line that -v shows."""

KILLER = (
    f"""
import os, signal, socket, sys
{compiled.BESIDE}
"""
    + """
# The module is a process of its own. It ends as by kill -9, once, when it is about to send a command.

def killing(send):
    def instead(self, data, *more):
        if os.environ["KILL_AT"].encode() in bytes(data).replace(b"\\r\\n", b" ") and os.path.exists(os.environ["KILL_ONCE"]):
            os.unlink(os.environ["KILL_ONCE"])
            os.kill(os.getpid(), signal.SIGKILL)
        return send(self, data, *more)
    return instead

if os.environ.get("KILL_AT") and "failover" in "".join(sys.orig_argv + getattr(sys, "argv", [])):
    socket.socket.sendall = killing(socket.socket.sendall)
    socket.socket.send = killing(socket.socket.send)
"""
)
# So that the name of the module is among the words of its process, or of the fork that takes its place.
AS_A_FILE = {"ANSIBLE_PIPELINING": "false"}


def answers(deployment: Deployment, **more: Any) -> dict[str, Any]:
    return {"sentinels": deployment.sentinel_addresses[0], "master_name": "mymaster", **more}


def handlers(**more: Any) -> dict[str, Any]:
    return {f"failover_{when}_tasks": str(PROJECT / f"{when}.yml") for when in ("before", "after", "failure")} | more


def summary(run: PlaybookRun) -> dict[str, Any]:
    found: dict[str, Any] = run.artifacts["redis_ha_failover"]
    return found


def report_of(run: PlaybookRun) -> str:
    files = summary(run)["report_files"]
    assert Path(files["markdown"]).stat().st_size > 0
    return Path(files["html"]).read_text()


def command_line(workspace: Workspace, variables: dict[str, Any]) -> list[str]:
    """`ansible-playbook redis_ha.sentinel.failover` with variables, as a person types it."""
    program = str(Path(workspace.environment()["PATH"].split(":")[0]) / "ansible-playbook")
    return [program, "redis_ha.sentinel.failover", "-e", " ".join(f"{key}={value}" for key, value in variables.items())]


def test_the_playbook_moves_the_master_and_shows_as_little_as_it_can(deployment: Deployment) -> None:
    with Workspace(from_nothing=True) as workspace:
        move_and_show(deployment, workspace)


def move_and_show(deployment: Deployment, workspace: Workspace) -> None:
    """Move the master as a user does, from nothing, and look at what is shown."""
    old = deployment.master()
    variables = answers(deployment, report_directory=workspace.reports)
    began_s, used_before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command_line(workspace, variables), "-v"],
        env=workspace.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    seconds = time.monotonic() - began_s
    assert done.returncode == 0, done.stdout
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime - used_before.ru_utime - used_before.ru_stime
    # A figure of a quiet machine; how long it takes beside other tests says nothing.
    print(f"playbook failover: {seconds:.1f} s, of them {cpu_s:.1f} s on a processor")
    new = deployment.master()
    assert new is not old
    (report,) = workspace.reports.glob("*.html")
    assert new.address in report.read_text()
    lines = done.stdout.splitlines()
    assert sum(line.startswith("TASK [") for line in lines) <= TASKS
    assert sum(line.startswith("skipping: ") for line in lines) <= SKIPPED
    assert max(map(len, lines)) <= LONGEST_LINE
    end = done.stdout[done.stdout.index("Say what came of it") :]
    assert end.index("was moved from") < end.index("loss      none, shown") < end.index("report    ")


@contextmanager
def patient_sentinels(deployment: Deployment) -> Iterator[None]:
    """They leave it to the second run to mend what the first one has left, however long that takes to begin."""
    try:
        for sentinel in deployment.sentinels:
            sentinel.command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "120000")
        yield
    finally:
        for sentinel in deployment.sentinels:
            sentinel.command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", str(deployment.down_after_ms))


@pytest.mark.parametrize(
    ("moment", "outcome"),
    [
        ("$8 SENTINEL $8 FAILOVER $8 mymaster", "switched"),
        ("$6 CLIENT $4 KILL $4 TYPE $6 normal", "unchanged"),
    ],
    ids=["before the trigger", "after the promotion"],
)
def test_a_module_that_was_killed_is_run_once_more_which_finishes_and_does_not_move_it_again(
    moment: str, outcome: str, deployment: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    old = deployment.master()
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    (tmp_path / "once").touch()
    killed = {"PYTHONPATH": str(tmp_path), "KILL_AT": moment, "KILL_ONCE": str(tmp_path / "once"), **AS_A_FILE}
    with patient_sentinels(deployment):
        run = workspace.run("failover.yml", answers(deployment), environment=killed)
    assert run.succeeded, run.stdout
    assert not (tmp_path / "once").exists(), "nothing was killed"
    assert len(run.results("Carry out")) == 2
    assert "outcome" not in run.results("Carry out")[0]
    assert run.results("Carry out")[1]["outcome"] == outcome
    assert "It is run once more" in run.result("Say that it is run once more")["msg"]
    new = deployment.wait_for(deployment.master, 10, "one master")
    assert new is not old
    found = summary(run)
    assert (found["outcome"], found["error"], found["changed"]) == ("switched", None, True)
    # Whether the second run can show what the first one did with the last write is for the module to say, where it promoted.
    assert outcome == "switched" or found["lossless"] is False
    assert (found["old_master"], found["new_master"]) == (old.address, new.address)
    assert any("it was run once more" in line for line in run.result("Say what came of it")["msg"])
    assert "it was run once more" in report_of(run)
    deployment.wait_ready(60)


HOST = "localhost"
"""What every node announces, and the password of all of them: Ansible masks it wherever it stands in a result."""


@pytest.mark.parametrize("killed", [False, True], ids=["to its end", "killed"])
def test_the_truth_is_told_where_ansible_masks_every_address(
    killed: bool, masked: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    old = masked.master()
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    (tmp_path / "once").touch()
    at = {"KILL_AT": "$6 CLIENT $4 KILL $4 TYPE $6 normal", "KILL_ONCE": str(tmp_path / "once")} if killed else {}
    run = workspace.run(
        "failover.yml",
        answers(masked, sentinels=f"127.0.0.1:{masked.sentinels[0].port}", redis_ha_redis_password=HOST),
        environment={"PYTHONPATH": str(tmp_path), **at, **AS_A_FILE},
    )
    assert run.succeeded, run.stdout
    new = masked.wait_for(masked.master, 10, "one master")
    assert new is not old
    found = summary(run)
    # A run that was killed after the promotion has left no proof.
    assert (found["outcome"], found["error"], found["lossless"]) == ("switched", None, not killed)
    for end, node in (("old_master", old), ("new_master", new)):
        assert found[end].endswith(f":{node.port}")
        assert HOST not in found[end], "nothing was masked, and this proves nothing"
    said = "\n".join(run.result("Say what came of it")["msg"])
    assert f":{old.port} to " in said
    assert ("it was run once more" in said) is killed
    assert (tmp_path / "once").exists() is not killed
    # Nobody is offered a command that cannot be run.
    assert found["way_back"] is None
    assert ("the way back is not shown" in said) is not killed
    assert not [shown for shown in run.results("Show what was found") if "FAILED" in str(shown)]
    assert "switched" in report_of(run).lower()
    masked.wait_ready(60)


@pytest.fixture(scope="module")
def masked() -> Iterator[Deployment]:
    with Deployment(
        host=HOST,
        node_config=[f"replica-announce-ip {HOST}", f"requirepass {HOST}", f"masterauth {HOST}"],
        sentinel_config=["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"],
        sentinel_master_config=[f"sentinel auth-pass {{name}} {HOST}"],
        node_auth=(None, HOST),
    ) as started:
        started.ask_every_second()
        yield started


WRONG = {
    "avoidd": ("192.0.2.1", "avoidd is unknown; did you mean avoid?"),
    "tagret": ("192.0.2.1:6379", "tagret is unknown; did you mean target?"),
    "expected_mater": ("192.0.2.1:6379", "expected_mater is unknown; did you mean expected_master?"),
    "master_nam": ("mymaster", "master_nam is unknown; did you mean master_name?"),
    "sentinel": ("192.0.2.1:26379", "sentinel is unknown; did you mean sentinels?"),
    "failover_stratgy": ("fenced", "failover_stratgy is unknown; did you mean failover_strategy?"),
    "failover_postchek": ("false", "failover_postchek is unknown; did you mean failover_postcheck?"),
    "postcheck_timout": ("60", "postcheck_timout is unknown; did you mean postcheck_timeout?"),
    "redis_ha_min_sentinel": ("2", "redis_ha_min_sentinel is unknown; did you mean redis_ha_min_sentinels?"),
    "report_directry": ("/tmp", "report_directry is unknown; did you mean report_directory?"),
    "strategy": ("fenced", "strategy is a word that Ansible keeps for itself; say failover_strategy"),
    "precheck_waivers": ("known_replica", "the waiver known_replica is no check; did you mean known_replicas?"),
}


@pytest.fixture
def nobody() -> Iterator[tuple[str, list[object]]]:
    """The address of a Sentinel that notes every connection and answers none."""
    asked: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, who = server.accept()
                except OSError:
                    return
                asked.append(who)
                connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_names_that_nobody_knows_are_refused_all_at_once_before_any_server_is_asked(
    nobody: tuple[str, list[object]], workspace: Workspace
) -> None:
    address, asked = nobody
    wrong = {name: value for name, (value, _said) in WRONG.items()}
    run = workspace.run("failover.yml", {"sentinels": address, "master_name": "mymaster", **wrong})
    assert run.status == "failed"
    assert run.message.startswith("Nothing was asked of any server: ")
    assert not [said for _value, said in WRONG.values() if said not in run.message], run.message
    assert not asked


def test_names_in_the_inventory_are_looked_at_as_well_and_can_be_declared_somebody_elses(
    nobody: tuple[str, list[object]], workspace: Workspace
) -> None:
    address, asked = nobody
    given = {"sentinels": address, "master_name": "mymaster", "failover_report": False, "change": "CHG0004711"}
    inventory = "localhost ansible_connection=local failover_timeout_ms=60000 tagret=x site_colour=red\n"
    refused = workspace.run("failover.yml", given, inventory=inventory)
    assert "failover_timeout_ms is unknown; did you mean failover_timeout?" in refused.message
    assert not asked
    run = workspace.run(
        "failover.yml", {**given, "redis_ha_other_variables": "failover_timeout_ms"}, inventory=inventory
    )
    assert "Nothing was asked" not in run.message
    assert "The variable tagret is not used. If target is meant, correct it." in " ".join(run.stdout.split())
    assert asked


def test_moves_are_on_record_and_shown_as_a_table(deployment: Deployment, workspace: Workspace, tmp_path: Path) -> None:
    record = tmp_path / "moves.jsonl"
    old = deployment.master()
    quick = {f"failover_{part}": False for part in ("precheck", "postcheck", "report")}
    moved = workspace.run("failover.yml", answers(deployment, history_file=str(record), **quick))
    assert moved.succeeded, moved.stdout
    new = deployment.master()
    refused = workspace.run(
        "failover.yml", answers(deployment, history_file=str(record), expected_master=old.address, **quick)
    )
    assert refused.status == "failed"
    shown = workspace.run("history.yml", {"history_file": str(record), "master_name": "mymaster"})
    assert shown.succeeded, shown.stdout
    _header, newest, first = shown.result("Show it")["msg"]
    assert newest.split()[1:3] == ["mymaster", "refused"]
    assert first.split()[1:5] == ["mymaster", "switched", old.address, new.address]
    deployment.wait_ready()


def test_check_mode_plans_and_reports_the_plan(deployment: Deployment, workspace: Workspace) -> None:
    old = deployment.master()
    run = workspace.run("failover.yml", {**answers(deployment), **handlers()}, check=True)
    assert run.succeeded, run.stdout
    assert deployment.master() is old
    found = summary(run)
    assert (found["outcome"], found["old_master"]) == ("planned", old.address)
    assert found["new_master"] in {replica.address for replica in deployment.replicas()}
    assert found["new_master"] in report_of(run)
    assert not any(task.startswith("Own task") for task in run.tasks()), "an operator's own tasks ran in check mode"


def test_operators_own_tasks_find_plan_result_and_report(
    deployment: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    """As docs/maintenance-window.md says it, with a file of ours for each of those that it names."""
    old = deployment.master()
    (window,) = (block.text for block in blocks() if block.text.startswith("# window.yml\n"))
    own = re.sub("expected_master: .*", f"expected_master: {old.address}", window)
    own = with_addresses(deployment, own.replace("/etc/redis-window/", f"{PROJECT}/"))
    (tmp_path / "window.yml").write_text(f"{own}failover_precheck: false\nfailover_postcheck: false\n")
    command = command_of_a_page("ansible-playbook redis_ha.sentinel.failover -e @window.yml")
    run = workspace.run_typed(command, inventory="localhost ansible_connection=local\n", folder=tmp_path)
    assert run.succeeded, run.stdout
    new = deployment.master()
    assert run.result("Own task: note the plan")["msg"] == f"{old.port} to {new.port}"
    assert run.result("Own task: note the result")["msg"] == f"switched with {summary(run)['report_files']['html']}"
    assert not run.results("Own task: note the failure")
    deployment.wait_ready()


def test_operators_own_tasks_before_can_speak_against_it(deployment: Deployment, workspace: Workspace) -> None:
    old = deployment.master()
    run = workspace.run("failover.yml", {**answers(deployment), **handlers(veto=True), "failover_precheck": False})
    assert run.status == "failed"
    assert run.message == "The virtual address cannot be moved today"
    assert deployment.master() is old
    found = summary(run)
    assert (found["outcome"], found["error"], found["changed"]) == ("refused", "vetoed", False)
    told = run.result("Own task: note the failure")["msg"]
    assert told == f"before: {run.message} (vetoed) with {found['report_files']['html']}"
    assert run.message in report_of(run)


def test_a_failed_precheck_ends_it_and_is_reported(deployment: Deployment, workspace: Workspace) -> None:
    old = deployment.master()
    run = workspace.run("failover.yml", answers(deployment, precheck_min_fit_replicas=3, precheck_patience=0))
    assert run.status == "failed"
    assert run.message.startswith("mymaster is not fit to be moved")
    assert deployment.master() is old
    assert (summary(run)["outcome"], summary(run)["error"]) == ("refused", "precheck_failed")
    assert "fit_replicas" in report_of(run)
    assert not run.results("Carry out")


def test_it_fails_with_the_message_of_the_module(deployment: Deployment, workspace: Workspace) -> None:
    old, other = deployment.master(), deployment.replicas()[0]
    run = workspace.run("failover.yml", answers(deployment, expected_master=other.address, failover_precheck=False))
    assert run.status == "failed"
    module = run.result("Carry out")
    assert run.message == module["msg"].strip()
    assert old.address in run.message
    assert (summary(run)["outcome"], summary(run)["error"]) == ("refused", "expected_master_mismatch")
    assert summary(run)["remedy"] == module["remedy"]
    assert old.address in report_of(run)


@contextmanager
def when_demoted(old: Process, act: Callable[[], None]) -> Iterator[threading.Event]:
    """Does something as soon as the old master is a replica; the event says that it was done."""
    done, stop = threading.Event(), threading.Event()

    def watch() -> None:
        with old.client() as client:
            while not stop.wait(0.01):
                # The run closes the connections of clients; the next question opens one.
                with suppress(redis.ConnectionError):
                    if client.role()[0] == "slave":
                        act()
                        done.set()
                        return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def test_a_replica_killed_half_way_is_named_with_what_to_do(deployment: Deployment, workspace: Workspace) -> None:
    old, (target, victim) = deployment.master(), deployment.replicas()
    wanted = answers(
        deployment,
        target=target.address,
        failover_timeout=5,
        failover_precheck=False,
        postcheck_stall_timeout=2,
        postcheck_poll_interval=0.5,
    )
    with when_demoted(old, victim.kill) as killed:
        run = workspace.run("failover.yml", wanted)
    try:
        assert killed.is_set()
        assert run.status == "failed"
        told = " ".join(run.message.split())
        assert run.result("Wait until every replica")["error"] == "replicas_stalled"
        assert f"the master is {target.address}; left to do: {victim.address}: " in told
        assert f"FAILED replica_in_sync: replica {victim.address} cannot be asked: Connection refused" in told
        assert "What to do: Start it, or mend the way to it; it then follows by itself." in told
        assert deployment.master() is target
        found = summary(run)
        assert (found["outcome"], found["error"], found["changed"]) == ("incomplete", "left_to_do", True)
        assert found["new_master"] == target.address
        assert victim.address in report_of(run)
    finally:
        victim.start()
        # It was away when the others were sent to the new master.
        victim.command("REPLICAOF", target.host, target.port)
        victim.command("CONFIG", "SET", "replica-priority", "100")
        deployment.wait_ready(60)


def test_replicas_that_come_after_the_time_of_the_module_are_waited_for(
    deployment: Deployment, workspace: Workspace
) -> None:
    old, (target, slow) = deployment.master(), deployment.replicas()

    def let_it_come(event: dict[str, Any]) -> None:
        begins = event["event"] == "playbook_on_task_start"
        if begins and event["event_data"]["task"].startswith("Wait until every replica"):
            slow.resume()

    wanted = answers(
        deployment, target=target.address, failover_timeout=5, failover_precheck=False, postcheck_stall_timeout=30
    )
    with when_demoted(old, slow.pause) as paused:
        run = workspace.run("failover.yml", wanted, on_event=let_it_come)
    assert paused.is_set()
    assert run.succeeded, run.stdout
    assert run.result("Carry out")["outcome"] == "incomplete"
    assert (summary(run)["outcome"], summary(run)["error"]) == ("switched", None)
    assert slow.command("CONFIG", "GET", "replica-priority")[1] == "100"
    assert "The check afterwards saw it done" in report_of(run)
    deployment.wait_ready(60)


def test_hosts_that_stand_for_deployments_of_their_own_are_moved_side_by_side(workspace: Workspace) -> None:
    names = ("orders", "carts")
    with Deployment(masters=names, replicas=1, down_after_ms=2000) as deployment:
        old = {name: deployment.master(name) for name in names}
        inventory = "\n".join(f"{name} ansible_connection=local redis_ha_master_name={name}" for name in names)
        run = workspace.run(
            "side_by_side.yml",
            {
                "redis_ha_sentinels": deployment.sentinel_addresses,
                "redis_ha_run_once": False,
                "failover_precheck": False,
                "failover_postcheck": False,
            },
            project=PROJECT,
            inventory=inventory,
        )
        assert run.succeeded, run.stdout
        assert {deployment.master(name) for name in names}.isdisjoint(old.values())
        shown = [result["msg"].split() for result in run.results("Show what came of it")]
        assert {(name, outcome) for name, outcome, _report in shown} == {(name, "switched") for name in names}
        assert all(name in Path(report).read_text() for name, _outcome, report in shown)


class TestConfirmation:
    """`confirm` asks a person, and never hangs where there is none."""

    @staticmethod
    def command(deployment: Deployment, workspace: Workspace) -> list[str]:
        more = {f"failover_{part}": "false" for part in ("precheck", "postcheck", "report")}
        return command_line(workspace, answers(deployment, confirm="true", **more))

    @pytest.mark.parametrize("word", ["yes", "no"])
    def test_only_yes_moves_it(self, word: str, deployment: Deployment, workspace: Workspace) -> None:
        deployment.wait_ready()
        old, replicas = deployment.master(), deployment.replicas()
        program, *words = self.command(deployment, workspace)
        terminal = pexpect.spawn(
            program, words, env=workspace.environment(), encoding="utf-8", timeout=280, dimensions=(50, 200)
        )
        try:
            assert terminal.expect(["Type yes to go on", pexpect.EOF]) == 0, terminal.before
            plan = terminal.before or ""
            assert old.address in plan
            assert any(replica.address in plan for replica in replicas)
            assert deployment.master() is old
            terminal.sendline(word)
            terminal.expect(pexpect.EOF)
        finally:
            terminal.close()
        moved = deployment.wait_for(deployment.master, 10, "one master") is not old
        assert moved is (word == "yes")
        assert terminal.exitstatus == (0 if word == "yes" else 2)
        if moved:
            deployment.wait_ready()
        else:
            assert "Nobody typed yes. Nothing was changed." in (terminal.before or "")

    def test_without_a_terminal_nothing_is_moved(self, deployment: Deployment, workspace: Workspace) -> None:
        old = deployment.master()
        done = subprocess.run(
            self.command(deployment, workspace),
            env=workspace.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 2
        assert "Nobody typed yes. Nothing was changed." in done.stdout
        assert deployment.master() is old

    def test_under_ansible_runner_it_says_why_it_does_not_ask(
        self, deployment: Deployment, workspace: Workspace
    ) -> None:
        old = deployment.master()
        run = workspace.run(
            "failover.yml", answers(deployment, confirm="true", failover_precheck=False, failover_report=False)
        )
        assert run.status == "failed"
        assert "nobody can answer where AWX or ansible-runner runs the playbook" in run.message
        assert deployment.master() is old
