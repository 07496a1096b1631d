# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program, a server or the network fails half-way: no acknowledged write is lost, and the next run puts it right."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from lab import Deployment, Process
from lab.machine import times_slower
from lab.modules import CHECKOUT, COLLECTIONS, RunningModule, run_module
from lab.recorder import Recorder, Recording

DOWN_AFTER_MS = 2000
FAILOVER_TIMEOUT_MS = 10_000
"""Sentinel waits as long until it leads a replica that nobody has told to the new master."""
FINISHED_S = 30
"""A run that finishes does not wait for anybody: it needs a small part of its `timeout` of 120 s, on a busy machine, too.

`python -m bench.killed` measures it."""
PAUSE_MS = 20.0
"""Of each of four writers, so that one of them writes every five milliseconds."""
BACKOFF_MS = 100.0
"""What each of them rests after a write that failed: a deployment without a master for half a minute is asked in vain all the time."""
LEFT_OVER = {"min-replicas-to-write": "0", "min-replicas-max-lag": "10", "replica-priority": "100"}


@pytest.fixture
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    server = getattr(request, "param", None)
    with Deployment(
        server, replicas=2, sentinels=3, down_after_ms=DOWN_AFTER_MS, failover_timeout_ms=FAILOVER_TIMEOUT_MS
    ) as running:
        # A raised priority shows sooner.
        running.ask_every_second()
        yield running


def options(deployment: Deployment, **more: Any) -> dict[str, Any]:
    return {"sentinels": deployment.sentinel_addresses, "master_name": "mymaster", **more}


@contextmanager
def disturbed_run(
    deployment: Deployment, disturbance: Mapping[str, Any], **more: Any
) -> Iterator[subprocess.Popen[str]]:
    """Our program, which is disturbed at a step; see ``lab.disturbed_run`` for how."""
    arguments = [json.dumps(disturbance), json.dumps(options(deployment, **more))]
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.disturbed_run", *arguments],
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT / 'tests'}:{COLLECTIONS}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def result_of(process: subprocess.Popen[str], timeout_s: float = 240) -> dict[str, Any]:
    """What a disturbed run printed; it must have been disturbed."""
    output, _errors = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, output
    result: dict[str, Any] = json.loads(output)
    return result


@contextmanager
def writers(deployment: Deployment) -> Iterator[Recorder]:
    nodes = [node.address for node in deployment.nodes()]
    with Recorder(
        deployment.sentinel_addresses, "mymaster", nodes=nodes, pause_ms=PAUSE_MS, backoff_ms=BACKOFF_MS
    ) as recorder:
        recorder.wait_for_writes(300)
        yield recorder


def recording_after(deployment: Deployment, recorder: Recorder) -> Recording:
    recorder.wait_for_writes(300)
    deployment.wait_ready(timeout_s=60)
    return recorder.finish(deployment.master().address)


def assert_nothing_left(deployment: Deployment) -> None:
    """No fence, no steering, and every node writes the same into its file."""
    for node in deployment.nodes():
        client = node.client()
        for name, value in LEFT_OVER.items():
            assert client.config_get(name)[name] == value, (node.address, name)
        assert "1000000100" not in node.config_path.read_text(), node.address
    for sentinel in deployment.sentinels:
        assert row_of(sentinel)["failover-timeout"] == str(FAILOVER_TIMEOUT_MS)


# Each step after which the servers are in another state; `python -m bench.killed` knows every message.
@pytest.mark.parametrize("step", ["lock", "fence", "demote"])
def test_killed_before_the_demotion_nothing_is_lost_and_the_next_run_cleans_up(
    deployment: Deployment, step: str
) -> None:
    old_master = deployment.master().address
    with writers(deployment) as recorder:
        with disturbed_run(deployment, {"step": step, "signal": "KILL"}) as process:
            assert process.wait(timeout=240) == -signal.SIGKILL
        # A pause that was left ends by itself; the writers go on without anybody's help.
        recorder.wait_for_writes(300)
        assert deployment.master().address == old_master
        result = run_module("failover", **options(deployment))
        if result["outcome"] == "unchanged":
            assert result["repaired"]
            assert result["changed"]
            assert deployment.master().address == old_master
            result = run_module("failover", **options(deployment))
        assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
        recording = recording_after(deployment, recorder)
    assert (recording.writes_lost, recording.unknown) == (0, 0)
    assert_nothing_left(deployment)


def test_killed_with_a_raised_priority_the_next_run_puts_it_back(deployment: Deployment) -> None:
    target, sibling = deployment.replicas()
    with disturbed_run(
        deployment, {"step": "priority_raised", "signal": "KILL"}, target=target.address, promotion="sentinel"
    ) as process:
        assert process.wait(timeout=240) == -signal.SIGKILL
    assert sibling.command("CONFIG", "GET", "replica-priority") == ["replica-priority", "1000000100"]
    result = run_module("failover", **options(deployment))
    assert (result["outcome"], result["changed"], result["lossless"]) == ("unchanged", True, None), str(result)
    assert result["repaired"]
    assert_nothing_left(deployment)


@pytest.mark.parametrize("step", ["demoted", "promote", "promoted", "announced", "follow", "disconnect"])
def test_killed_after_the_demotion_the_next_run_finishes_and_does_not_move_back(
    deployment: Deployment, step: str
) -> None:
    finished_by_the_next_run(deployment, step)


@pytest.mark.parametrize("step", ["trigger", "promoted", "agreed"])
def test_killed_while_sentinel_promotes_the_next_run_finishes_and_does_not_move_back(
    deployment: Deployment, step: str
) -> None:
    finished_by_the_next_run(deployment, step, promotion="sentinel")


def finished_by_the_next_run(deployment: Deployment, step: str, **more: Any) -> None:
    old_master = deployment.master().address
    with writers(deployment) as recorder:
        with disturbed_run(deployment, {"step": step, "signal": "KILL"}, **more) as process:
            assert process.wait(timeout=240) == -signal.SIGKILL
        began_s = time.monotonic()
        # What is repeated says which master it means to move: one that was moved already is left alone.
        result = run_module("failover", **options(deployment, expected_master=old_master, **more))
        took_s = time.monotonic() - began_s
        if step in ("demoted", "trigger"):
            assert result["outcome"] == "switched", str(result)
        else:
            finished = result["outcome"] in {"switched", "unchanged"} or result["error"] == "expected_master_mismatch"
            assert finished, str(result)
        assert took_s < FINISHED_S * times_slower(), "finishing is a matter of seconds"
        recording = recording_after(deployment, recorder)
    assert deployment.master().address != old_master
    assert recording.writes_lost == 0
    assert_nothing_left(deployment)


def prefer(deployment: Deployment, replica: Process) -> None:
    """Every Sentinel would choose this one."""
    replica.command("CONFIG", "SET", "replica-priority", "1")
    deployment.wait_for(lambda: _all_show_priority(deployment, replica, "1"), 30, "the Sentinels to see the priority")


def test_where_the_leader_was_left_alone_and_prefers_another_replica_everybody_follows_that_one(
    deployment: Deployment,
) -> None:
    """It does not lead the old master, which our run had demoted: Sentinel would do that after failover-timeout only."""
    old_master, (target, preferred) = deployment.master(), deployment.replicas()
    prefer(deployment, preferred)
    with writers(deployment) as recorder:
        with disturbed_run(
            deployment, {"step": "promoted", "signal": "KILL"}, target=target.address, promotion="program"
        ) as process:
            assert process.wait(timeout=240) == -signal.SIGKILL
        deployment.wait_for(lambda: any(_is_leading(it) for it in deployment.sentinels), 10, "the leader to go on")
        result = run_module("failover", **options(deployment))
        # It joins the failover, or comes when that is over.
        assert result["outcome"] in ("switched", "unchanged"), str(result)
        assert deployment.master() is preferred
        followed = dict(zip(("role", "host", "port"), old_master.command("ROLE")[:3], strict=True))
        assert (followed["role"], followed["port"]) == ("slave", preferred.port)
        assert result["phases_ms"].get("settle", 0) < FAILOVER_TIMEOUT_MS, "it did not wait for Sentinel to do it"
        recording = recording_after(deployment, recorder)
    assert recording.writes_lost == 0


def test_suspended_at_the_trigger_until_sentinel_has_chosen_another_replica_it_moves_the_master_on(
    deployment: Deployment,
) -> None:
    """What was asked for is one move; where this host is too slow for it, it is two."""
    old_master, (target, preferred) = deployment.master(), deployment.replicas()
    prefer(deployment, preferred)
    with writers(deployment) as recorder:
        with disturbed_run(
            deployment,
            {"step": "triggered", "signal": "STOP"},
            target=target.address,
            expected_master=old_master.address,
        ) as process:
            deployment.wait_for(lambda: _is_stopped(process.pid), 60, "the run to suspend itself")
            deployment.wait_for(lambda: deployment.master() is preferred, 30, "Sentinel to promote")
            process.send_signal(signal.SIGCONT)
            result = result_of(process)
        assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
        assert [result[name]["port"] for name in ("old_master", "new_master")] == [old_master.port, target.port]
        assert [entry["subject"] for entry in result["timeline"] if entry["kind"] == "goes_on"] == [preferred.address]
        recording = recording_after(deployment, recorder)
    assert deployment.master() is target
    assert recording.writes_lost == 0
    preferred.command("CONFIG", "SET", "replica-priority", "100")
    assert_nothing_left(deployment)


def _all_show_priority(deployment: Deployment, replica: Process, priority: str) -> bool:
    for sentinel in deployment.sentinels:
        rows = [
            dict(zip(row[::2], row[1::2], strict=True)) for row in sentinel.command("SENTINEL", "REPLICAS", "mymaster")
        ]
        if not any(int(row["port"]) == replica.port and row["slave-priority"] == priority for row in rows):
            return False
    return True


@pytest.mark.timeout(400)
def test_killed_between_demotion_and_trigger_sentinel_heals_without_us(deployment: Deployment) -> None:
    old_master = deployment.master().address
    with writers(deployment) as recorder:
        with disturbed_run(deployment, {"step": "trigger", "signal": "KILL"}) as process:
            assert process.wait(timeout=240) == -signal.SIGKILL
        # down-after 2 s, 20 s until a master that turned replica counts as down, 10 s until INFO shows it, and the election.
        deployment.wait_for(lambda: deployment.master().address != old_master, 60, "a new master")
        recording = recording_after(deployment, recorder)
    assert recording.writes_lost == 0
    run_module("failover", **options(deployment))
    assert_nothing_left(deployment)


@pytest.mark.parametrize("deployment", ["redis-6.0"], indirect=True)
@pytest.mark.parametrize("step", ["catch_up", "demote"])
def test_killed_behind_a_fence_of_settings_the_next_run_lifts_it_and_moves(deployment: Deployment, step: str) -> None:
    old_master = deployment.master()
    with writers(deployment) as recorder:
        with disturbed_run(deployment, {"step": step, "signal": "KILL"}) as process:
            assert process.wait(timeout=240) == -signal.SIGKILL
        assert old_master.command("CONFIG", "GET", "min-replicas-to-write") == ["min-replicas-to-write", "2000000000"]
        result = run_module("failover", **options(deployment))
        assert result["outcome"] == "switched", str(result)
        assert result["repaired"]
        recording = recording_after(deployment, recorder)
    assert recording.writes_lost == 0
    assert_nothing_left(deployment)


def test_suspended_behind_the_fence_until_the_pause_has_ended(deployment: Deployment) -> None:
    """This host stands still for longer than the lease: writes went on, so the demotion must not lose them."""
    with writers(deployment) as recorder:
        with disturbed_run(deployment, {"step": "demote", "signal": "STOP"}) as process:
            deployment.wait_for(lambda: _is_stopped(process.pid), 60, "the run to suspend itself")
            # Only once the pause has ended by itself do the writers get anywhere.
            recorder.wait_for_writes(300)
            process.send_signal(signal.SIGCONT)
            result = result_of(process)
        assert result["outcome"] in {"switched", "aborted"}, str(result)
        assert result["lossless"] is (True if result["outcome"] == "switched" else None)
        recording = recording_after(deployment, recorder)
    assert recording.writes_lost == 0
    assert_nothing_left(deployment)


def _is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_of_two_runs_at_once_the_one_that_came_first_goes_on(deployment: Deployment) -> None:
    with disturbed_run(deployment, {"step": "recheck", "signal": "STOP"}) as process:
        deployment.wait_for(lambda: _is_stopped(process.pid), 60, "the run to suspend itself")
        second = run_module("failover", **options(deployment))
        assert (second["outcome"], second["error"]) == ("refused", "another_run"), str(second)
        process.send_signal(signal.SIGCONT)
        first = result_of(process)
    assert (first["outcome"], first["lossless"]) == ("switched", True), str(first)


def test_a_replica_that_stops_behind_the_fence_costs_no_longer_than_the_bound(deployment: Deployment) -> None:
    """The replica freezes between probe and fence: writes go on after catch_up_timeout, nothing is moved."""
    old_master = deployment.master().address
    with writers(deployment) as recorder:
        with disturbed_run(deployment, {"step": "fence", "signal": "STOP"}, catch_up_timeout=0.5) as process:
            deployment.wait_for(lambda: _is_stopped(process.pid), 60, "the run to suspend itself")
            target = deployment.replicas()
            for replica in target:
                replica.pause()
            process.send_signal(signal.SIGCONT)
            result = result_of(process)
        for replica in target:
            replica.resume()
        recorder.wait_for_writes(300)
        recording = recording_after(deployment, recorder)
    assert (result["outcome"], result["error"], result["changed"]) == ("aborted", "catch_up_timeout", False), str(
        result
    )
    assert deployment.master().address == old_master
    assert recording.writes_lost == 0
    assert recording.longest_gap_s < DOWN_AFTER_MS / 1000, "writes go on before Sentinel would call the master down"
    assert_nothing_left(deployment)


def old_master_of(result: Mapping[str, Any]) -> str:
    """From where the disturbed run moved it: one that was not disturbed may have moved it before."""
    return "{host}:{port}".format(**result["old_master"])


def sentinels_by_pid(deployment: Deployment) -> dict[str, int]:
    return {sentinel.address: sentinel.pid for sentinel in deployment.sentinels}


def sentinel_at(deployment: Deployment, address: str) -> Process:
    return next(sentinel for sentinel in deployment.sentinels if sentinel.address == address)


@pytest.mark.parametrize(("name", "step"), [("KILL", "promote"), ("KILL", "announce"), ("STOP", "promoted")])
@pytest.mark.timeout(400)
def test_the_leading_sentinel_is_lost_before_it_has_heard(deployment: Deployment, name: str, step: str) -> None:
    """Nobody else is told then. It may have the order to promote another replica on its way; the others fail over once they see the master down."""
    leader = deployment.sentinels[0]
    disturbance = {"step": step, "signal": name, "leader": sentinels_by_pid(deployment)}
    with writers(deployment) as recorder:
        with disturbed_run(deployment, disturbance) as process:
            result = result_of(process)
        assert (result["outcome"], result["changed"]) == ("incomplete", True), str(result)
        assert leader.address in result["msg"]
        assert not any(entry["kind"] == "announced" for entry in result["timeline"]), "nobody was told"
        if name == "KILL":
            leader.start()
        else:
            leader.resume()
        recording = recording_after(deployment, recorder)
    assert deployment.master().address != old_master_of(result)
    assert recording.writes_lost == 0


@pytest.mark.parametrize("name", ["KILL", "STOP"])
def test_the_leading_sentinel_is_lost_once_it_has_heard(deployment: Deployment, name: str) -> None:
    """The others are told by us, so nothing waits for it."""
    leader = deployment.sentinels[0]
    disturbance = {"step": "announced", "signal": name, "leader": sentinels_by_pid(deployment)}
    with writers(deployment) as recorder:
        with disturbed_run(deployment, disturbance) as process:
            result = result_of(process)
        assert result["promotion"] == "program"
        assert (result["outcome"], result["lossless"]) == ("incomplete", True), str(result)
        assert leader.address in result["msg"]
        assert deployment.master().address != old_master_of(result)
        if name == "KILL":
            leader.start()
        else:
            leader.resume()
        recording = recording_after(deployment, recorder)
    assert recording.writes_lost == 0


@pytest.mark.parametrize("name", ["KILL", "STOP"])
@pytest.mark.timeout(400)
def test_the_leading_sentinel_is_lost_right_after_it_was_told_to_promote(deployment: Deployment, name: str) -> None:
    """It promotes in its third tick, 104 ms after the order at least; it is gone by then."""
    old_master = deployment.master().address
    disturbance = {"step": "triggered", "signal": name, "leader": sentinels_by_pid(deployment)}
    with writers(deployment) as recorder:
        with disturbed_run(deployment, disturbance, promotion="sentinel") as process:
            result = result_of(process)
        assert result["outcome"] == "incomplete", str(result)
        assert result["leader"] in result["msg"]
        assert deployment.master().address != old_master
        leader = sentinel_at(deployment, result["leader"])
        if name == "KILL":
            leader.start()
        else:
            leader.resume()
        recording = recording_after(deployment, recorder)
    assert recording.writes_lost == 0


@pytest.mark.parametrize("moment", ["crash-after-election", "crash-after-promotion"])
def test_the_leading_sentinel_crashes_while_it_promotes(moment: str) -> None:
    """Sentinel's own switch for tests: it exits before it promotes, or promoted and before it told the others."""
    with Deployment(
        replicas=1, sentinels=3, down_after_ms=DOWN_AFTER_MS, failover_timeout_ms=FAILOVER_TIMEOUT_MS
    ) as deployment:
        deployment.ask_every_second()
        old_master = deployment.master().address
        leader = deployment.sentinels[1]
        leader.command("SENTINEL", "SIMULATE-FAILURE", moment)
        with writers(deployment) as recorder:
            result = run_module("failover", **options(deployment, promotion="sentinel"))
            assert result["outcome"] == "incomplete", str(result)
            assert leader.address in result["msg"]
            assert not leader.alive
            leader.start()
            recording = recording_after(deployment, recorder)
    assert deployment_moved(result, old_master)
    assert recording.writes_lost == 0


def test_a_leader_that_would_crash_gives_in_before_it_comes_to_that() -> None:
    """On a host that is too busy to be done before the leader's third tick it does crash, and the result says so; then it is tried again."""
    for _attempt in range(10):
        with Deployment(replicas=1, sentinels=3, down_after_ms=2000) as deployment:
            leader = deployment.sentinels[0]
            leader.command("SENTINEL", "SIMULATE-FAILURE", "crash-after-election", "crash-after-promotion")
            with writers(deployment) as recorder:
                result = run_module("failover", **options(deployment))
                gave_in = leader.alive
                if not gave_in:
                    leader.start()
                recording = recording_after(deployment, recorder)
        assert recording.writes_lost == 0
        if gave_in:
            assert (result["outcome"], result["leader"]) == ("switched", leader.address), str(result)
            assert recording.unknown == 0
            return
        assert result["outcome"] != "switched" or result["promotion"] == "sentinel", str(result)
    pytest.fail("the leader came to its third tick first, ten times")


@pytest.mark.parametrize("step", ["probe", "demote", "trigger"])
def test_an_operator_fails_over_at_the_same_time(deployment: Deployment, step: str) -> None:
    """Whoever wins: all agree, nothing is lost, and the result says what is so."""
    fails_over_beside_an_operator(deployment, step)


@pytest.mark.parametrize("step", ["triggered", "promoted", "announced"])
def test_an_operator_fails_over_behind_our_trigger(deployment: Deployment, step: str) -> None:
    """His failover takes the epoch of ours; nobody is told who would then name another master for ever. Where Sentinels do that by themselves, it is told."""
    fails_over_beside_an_operator(deployment, step)


def named_for_ever(deployment: Deployment) -> dict[str, str]:
    """Who names whom, where two Sentinels have begun in the same epoch and chosen two masters: Sentinel has no way out of this. Else nothing."""
    rows = {sentinel.address: row_of(sentinel) for sentinel in deployment.sentinels}
    named = {address: f"{row['ip']}:{row['port']}" for address, row in rows.items()}
    epochs = {row["config-epoch"] for row in rows.values()}
    at_rest = not any("failover_in_progress" in row["flags"] for row in rows.values())
    return named if at_rest and len(epochs) == 1 and len(set(named.values())) == 2 else {}


def assert_split_is_told(named: dict[str, str], result: dict[str, Any]) -> None:
    """The result names the Sentinel that stands alone and the master that it names."""
    assert result["outcome"] in ("unknown", "incomplete"), str(result)
    assert result["lossless"] is False, str(result)
    ((alone, other),) = [(address, name) for address, name in named.items() if list(named.values()).count(name) == 1]
    assert re.search(rf"Sentinel {alone}:? (it )?names {other}", result["msg"]), str(result)


def row_of(sentinel: Process) -> dict[str, str]:
    """What a Sentinel shows of the master."""
    fields = sentinel.command("SENTINEL", "MASTER", "mymaster")
    return dict(zip(fields[::2], fields[1::2], strict=True))


def fails_over_beside_an_operator(deployment: Deployment, step: str) -> None:
    rival = deployment.sentinels[2]
    with writers(deployment) as recorder:
        with disturbed_run(deployment, {"step": step, "rival": rival.address}) as process:
            result = result_of(process)
        if result["error"] in ("sentinels_split", "left_to_do") and (named := named_for_ever(deployment)):
            assert_split_is_told(named, result)
            return
        recording = recording_after(deployment, recorder)
    master = deployment.master()
    assert all(_names(sentinel, master) for sentinel in deployment.sentinels)
    if result["outcome"] in ("refused", "aborted"):
        # Not ours: he moves it alone, without a fence, and what that loses is not on us.
        assert (result["changed"], result["lossless"]) == (False, None), str(result)
        return
    assert result["outcome"] in ("switched", "incomplete"), str(result)
    assert result["new_master"]["port"] == master.port or result["error"] == "moved_on", str(result)
    if result["lossless"]:
        assert recording.writes_lost == 0
    # His failover may lead back to where it was.
    assert master.address != old_master_of(result) or result["error"] == "moved_on"


@pytest.mark.parametrize("led_away", [False, True], ids=["", "no node is a master"])
def test_sentinels_that_name_two_masters_of_one_epoch_are_brought_together(
    deployment: Deployment, led_away: bool
) -> None:
    """One has heard of another new master, of the epoch of ours, before it was told of ours: by itself it would keep it.

    Where both leaders have led a replica to the other one's, nobody takes writes: Sentinel by itself fails over again half a minute later.
    """
    before = max(int(row_of(sentinel)["config-epoch"]) for sentinel in deployment.sentinels)
    misled = deployment.sentinels[2]
    disturbance = {"step": "announced", "misled": misled.address, "led_away": led_away}
    with writers(deployment) as recorder:
        with disturbed_run(deployment, disturbance) as process:
            result = result_of(process)
        rows = [row_of(sentinel) for sentinel in deployment.sentinels]
        master = deployment.master()
        recording = recording_after(deployment, recorder)
    assert (result["outcome"], result["promotion"]) == ("switched", "program"), str(result)
    assert result["lossless"] is False
    assert "named two masters" in result["lossless_reason"]
    assert any(misled.address in note for note in result["notes"]), str(result)
    again = [entry for entry in result["timeline"] if entry["kind"] == "promoted" and "again" in entry["detail"]]
    assert len(again) == led_away
    assert result["new_master"]["port"] == master.port == deployment.master().port
    assert {int(row["port"]) for row in rows} == {master.port}
    (epoch,) = {int(row["config-epoch"]) for row in rows}
    assert epoch >= before + 2, "that of the move, and the next one"
    assert "replicaof" not in master.config_path.read_text(), "after a restart it is a master"
    assert recording.writes_lost == 0, "nobody wrote to the other one"


def deployment_moved(result: dict[str, Any], old_master: str) -> bool:
    new_master = result["new_master"]
    return bool(result["changed"]) and f"{new_master['host']}:{new_master['port']}" != old_master


def test_a_failover_in_progress_is_joined(deployment: Deployment) -> None:
    old_master = deployment.master().address
    leader = deployment.sentinels[1]
    leader.command("SENTINEL", "FAILOVER", "mymaster")
    result = run_module("failover", **options(deployment))
    assert result["outcome"] == "switched", str(result)
    assert result["lossless"] is False
    assert leader.address in result["lossless_reason"]
    assert deployment.master().address != old_master


def test_asked_to_end_it_ends_where_nothing_is_under_way(deployment: Deployment) -> None:
    target, _sibling = deployment.replicas()
    # Sentinel looks at a replica every ten seconds, and the run waits until it has seen the raised priority.
    for sentinel in deployment.sentinels:
        sentinel.command("SENTINEL", "DEBUG", "info-period", "10000")
    with RunningModule("failover", **options(deployment, target=target.address, promotion="sentinel")) as running:
        deployment.wait_for(
            lambda: any(
                replica.client().config_get("replica-priority")["replica-priority"] != "100"
                for replica in deployment.replicas()
            ),
            20,
            "the run to steer",
        )
        running.process.terminate()
        result = running.result()
    assert (result["outcome"], result["error"]) == ("refused", "interrupted")
    assert_nothing_left(deployment)


def test_a_failover_that_sentinel_makes_by_itself_afterwards_is_not_called_lossless(deployment: Deployment) -> None:
    old_master = deployment.master()
    target, other_replica = deployment.replicas()
    # Not the one that Sentinel chooses next.
    other_replica.command("CONFIG", "SET", "replica-priority", "200")
    sentinels = deployment.sentinels
    # Our program misses what happens before everything has settled.
    with disturbed_run(deployment, {"step": "settle", "signal": "STOP"}, target=target.address) as process:
        deployment.wait_for(lambda: _is_stopped(process.pid), 60, "the run to suspend itself")
        deployment.wait_for(
            lambda: all(_names(each, target) and not _is_leading(each) for each in sentinels),
            60,
            "the end of the failover",
        )
        deployment.wait_for(lambda: _moved_by(sentinels[0], old_master, sentinels), 90, "a second failover")
        process.send_signal(signal.SIGCONT)
        result = result_of(process)
    assert (result["outcome"], result["error"]) == ("incomplete", "moved_on"), result["msg"]
    assert result["changed"]
    assert result["msg"].startswith(
        f"the master was moved to {target.address}, and Sentinel has failed over from there to {old_master.address} by itself"
    )
    assert not result["lossless"]
    assert f"what {target.address} acknowledged last may be lost" in result["lossless_reason"]


def _moved_by(leader: Process, master: Process, sentinels: Sequence[Process]) -> bool:
    """Whether every Sentinel names the master, and no failover goes on; where none does, one is begun, again if the one before was given up."""
    if any(_is_leading(each) for each in sentinels):
        return False
    if all(_names(each, master) for each in sentinels):
        return True
    if not any(_names(each, master) for each in sentinels):
        _fails_over(leader)
    return False


def _names(sentinel: Process, node: Process) -> bool:
    return bool(sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") == [node.host, str(node.port)])


def _is_leading(sentinel: Process) -> bool:
    return "failover_in_progress" in row_of(sentinel)["flags"]


def _fails_over(sentinel: Process) -> bool:
    try:
        return bool(sentinel.command("SENTINEL", "FAILOVER", "mymaster") == "OK")
    except redis.ResponseError:
        return False
