# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failovers in whose course the network is cut at a chosen step: `python -m lab.cut_run`, cases as JSON on standard input, one after the other.

The hosts are containers. A cut is made by iptables inside of one, and concerns this program or other hosts of the deployment; the applications
that write are on a host of their own and notice nothing of it. Then the network is mended and the program runs again. Prints a list as JSON, of
each case how both runs ended, what redis-cli says after each, what became of the writes, and in `wrong` whatever contradicts what was promised.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    CONNECTION,
    FAILOVER,
    connection_options,
    failover_request,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Entry, Timeline

from lab.disturbed_run import check_moment, is_moment
from lab.errors import LabError

NODE_PORT, SENTINEL_PORT = 6379, 26379
SHORT_PACKET_BYTES = 100
"""MULTI and its reply are shorter, a transaction and its replies are longer."""
LOAD_MAX_S = 150
PAUSE_MS = 25.0
HEALTHY_S = 60
AGAIN_S = 45
"""How long after the network was mended a second run may still be refused: Sentinels have to see each other again."""
RETRY_S = 0.5
SENT_AGAIN_S = 30
SPREAD_S = 3.0
"""A Sentinel that the program could not ask hears of a new master from the hello of the others, every two seconds."""
MOST_TRIES = 5
LEFT_OVER = {"min-replicas-to-write": "0", "min-replicas-max-lag": "10", "replica-priority": "100"}
_END = "-- end --"


class NeverCameError(LabError):
    """The run went another way than the case is about, because the host is too slow.

    A promotion that comes too late is left to Sentinel. A cut that lasts too long makes Sentinel fail over by itself.
    """


class Host:
    """A container, and a shell in it that stays open: a cut must not cost the time that a new one takes."""

    def __init__(self, container: str, address: str) -> None:
        self.address = address
        self.node = f"{address}:{NODE_PORT}"
        self.sentinel = f"{address}:{SENTINEL_PORT}"
        self._lock = threading.Lock()
        self._shell = subprocess.Popen(
            ["docker", "exec", "--interactive", container, "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def run(self, script: str) -> list[str]:
        """The lines that a script prints."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        with self._lock:
            self._shell.stdin.write(f"{script}\necho '{_END}'\n")
            self._shell.stdin.flush()
            lines: list[str] = []
            for line in self._shell.stdout:
                if line.rstrip("\n") == _END:
                    return lines
                lines.append(line.rstrip("\n"))
        raise LabError(f"the shell on {self.address} has ended")

    def cli(self, *words: str, port: int = NODE_PORT) -> list[str]:
        """What redis-cli prints on that host."""
        return self.run(f"timeout 20 redis-cli -p {port} {' '.join(words)} 2>&1")

    def close(self) -> None:
        """Ends the shell."""
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(10)


# Cuts: from whom the host is cut off, as conditions for packets that come and packets that go.

Rules = list[str]


def _apart(address: str, port: str = "") -> Rules:
    ports = f"-p tcp -m multiport --ports {port}" if port else ""
    return [f"INPUT -s {address} {ports}", f"OUTPUT -d {address} {ports}"]


def rules_of(kind: str, controller: str, peers: Sequence[str]) -> Rules:
    """What is dropped on a host.

    Raises:
        LabError: There is no such cut.
    """
    long = f"-m length --length {SHORT_PACKET_BYTES}:65535"
    kinds: dict[str, Rules] = {
        "controller": _apart(controller),
        "controller_sentinel": _apart(controller, str(SENTINEL_PORT)),
        "orders": [f"INPUT -s {controller} -p tcp --dport {NODE_PORT} {long}"],
        "replies": [f"OUTPUT -d {controller} -p tcp --sport {NODE_PORT} {long}"],
        "replication": [rule for peer in peers for rule in _apart(peer, str(NODE_PORT))],
        "sentinels": [rule for peer in peers for rule in _apart(peer, str(SENTINEL_PORT))],
        "peers": [rule for peer in peers for rule in _apart(peer)],
    }
    if kind not in kinds:
        raise LabError(f"no cut {kind!r}; there are {', '.join(kinds)}")
    return kinds[kind]


@dataclass
class Case:
    """What is cut when.

    Attributes:
        name: What it is called.
        step: When the cut is made: at the beginning of the step of that name, or at the first entry of that kind.
        cut: Its kind, see ``rules_of``.
        host: Where: ``master``, ``target``, ``sibling`` or ``leader``.
        heal_s: After how many seconds it is mended; never during the run if it is ``None``.
        options: Further options of the run.
    """

    name: str
    step: str
    cut: str
    host: str
    heal_s: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


class Lab:
    """A deployment on containers, seen by redis-cli on its hosts."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.controller = str(description["controller"])
        self.client = str(description["client"])
        self.master_name = str(description["master_name"])
        self.hosts = [Host(container, address) for container, address in description["hosts"].items()]
        self.dropped_packets = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.mend()
        for host in self.hosts:
            host.close()

    def cut(self, host: Host, kind: str) -> None:
        """Drops packets on a host from now on."""
        peers = [other.address for other in self.hosts if other is not host]
        rules = rules_of(kind, self.controller, peers)
        said = host.run("\n".join(f"iptables -w -I {rule} -j DROP 2>&1" for rule in rules))
        if said:
            raise LabError(f"iptables on {host.address}: {said}")

    def mend(self) -> None:
        """Drops nothing any more, and counts what was dropped."""
        for host in self.hosts:
            counted = host.run("iptables -w -nvxL | awk '$3 == \"DROP\" { print $1 }'")
            self.dropped_packets += sum(map(int, counted))
            if said := host.run("iptables -w -F INPUT 2>&1; iptables -w -F OUTPUT 2>&1"):
                raise LabError(f"iptables on {host.address}: {said}")

    def by_node(self, node: str) -> Host:
        return next(host for host in self.hosts if host.node == node)

    def named(self) -> dict[str, str]:
        """The master that each Sentinel names."""
        return {host.sentinel: ":".join(self._sentinel(host, "GET-MASTER-ADDR-BY-NAME")) for host in self.hosts}

    def roles(self) -> dict[str, str]:
        """What each node says that it is: `master`, or whom it follows and how its link is."""
        roles = {}
        for host in self.hosts:
            role, *more = host.cli("ROLE") or ["silent"]
            roles[host.node] = f"follows {more[0]}:{more[1]} {more[2]}" if role == "slave" else role
        return roles

    def takes_writes(self, host: Host) -> bool:
        """Whether a write by redis-cli succeeds; it waits for as long as a pause may last."""
        return host.cli("SET", "cut_run:probe", "1", "EX", "60") == ["OK"]

    def left_over(self) -> list[str]:
        """What a failover must not leave: settings, in memory and in the file, and a Sentinel's timeout."""
        found = []
        for host in self.hosts:
            for name, value in LEFT_OVER.items():
                if (now := host.cli("CONFIG", "GET", name)) != [name, value]:
                    found.append(f"{host.node}: {now}")
            if lines := host.run("grep -h -E '100000|200000' /etc/redis/node.conf"):
                found.append(f"{host.node}: {lines} in its file")
            if self._row(host)["failover-timeout"] != "60000":
                found.append(f"{host.sentinel}: failover-timeout {self._row(host)['failover-timeout']}")
        return found

    def ailments(self) -> list[str]:
        """Why the deployment is not whole: every Sentinel reaches everybody and names the one master, and everybody follows it."""
        named = self.named()
        found = [] if len(set(named.values())) == 1 else [f"the Sentinels name {named}"]
        master = next(iter(named.values()))
        for node, role in self.roles().items():
            if role != ("master" if node == master else f"follows {master} connected"):
                found.append(f"{node}: {role}")
        for host in self.hosts:
            row, others = self._row(host), len(self.hosts) - 1
            if (row["flags"], row["num-slaves"], row["num-other-sentinels"]) != ("master", str(others), str(others)):
                found.append(f"{host.sentinel}: {row['flags']} {row['num-slaves']} {row['num-other-sentinels']}")
            rows = self._sentinel(host, "REPLICAS") + self._sentinel(host, "SENTINELS")
            flags = {flags for name, flags in pairwise(rows) if name == "flags"}
            if not flags <= {"slave", "sentinel"}:
                found.append(f"{host.sentinel} does not reach everybody: {flags}")
        return found

    def wait_until_whole(self) -> list[str]:
        """Waits until nothing is wrong; what still is when the time is over."""
        deadline_s = time.monotonic() + HEALTHY_S
        while (found := self.ailments()) and time.monotonic() < deadline_s:
            # Each look starts dozens of redis-cli.
            time.sleep(0.4)
        return found

    def _sentinel(self, host: Host, question: str) -> list[str]:
        return host.cli("SENTINEL", question, self.master_name, port=SENTINEL_PORT)

    def _row(self, host: Host) -> dict[str, str]:
        lines = self._sentinel(host, "MASTER")
        return dict(zip(lines[::2], lines[1::2], strict=True))


class Writers:
    """Four applications on a host of their own, which write in one case after the other."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._shell = Host(lab.client, "the host of the applications")
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", "--workdir", "/opt", lab.client, "python3", "-m", "lab.load", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._folder = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._shell.close()

    def begin(self) -> None:
        """Returns when writes are acknowledged.

        Raises:
            LabError: None is.
        """
        self._folder = self._shell.run("mktemp -d")[0]
        options = {
            "sentinels": [host.sentinel for host in self._lab.hosts],
            "nodes": [host.node for host in self._lab.hosts],
            "master_name": self._lab.master_name,
            "max_s": LOAD_MAX_S,
            "pause_ms": PAUSE_MS,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"folder": self._folder, "options": options}) + "\n")
        wait = f"until [ -e {self._folder}/writing ]; do sleep 0.05; done"
        if self._shell.run(f"timeout 60 sh -c '{wait}' || echo late") or self._process.poll() is not None:
            raise LabError("no application has written anything within 60 s")

    def end(self, master: str) -> dict[str, Any]:
        """What became of the writes, read back from the master.

        Raises:
            LabError: They have failed.
        """
        self._shell.run(f"echo {master} > {self._folder}/end; mv {self._folder}/end {self._folder}/stop")
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LabError("the writers have failed")
        recording: dict[str, Any] = json.loads(line)
        return recording


def wait_until_nothing_is_on_its_way(lab: Lab) -> None:
    """Waits until no connection of ours to the deployment has anything left to send again, as TCP does with what was not acknowledged.

    Raises:
        LabError: Something still is when the time is over.
    """
    # proc(5): addresses in hexadecimal, in the byte order of this machine.
    addresses = {f"{int.from_bytes(socket.inet_aton(host.address), sys.byteorder):08X}" for host in lab.hosts}
    deadline_s = time.monotonic() + SENT_AGAIN_S
    while True:
        rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        waiting = [row for row in rows if row[2].split(":")[0] in addresses and int(row[4].split(":")[0], 16)]
        if not waiting:
            return
        if time.monotonic() > deadline_s:
            raise LabError(f"still on its way: {waiting}")
        time.sleep(0.05)


def program(lab: Lab, options: Mapping[str, Any], hook: Callable[[Run, Entry], None] | None = None) -> dict[str, Any]:
    """One run of the module's own code."""
    defaults = {name: spec.get("default") for name, spec in {**CONNECTION, **FAILOVER}.items()}
    params = {**defaults, "master_name": lab.master_name, "connect_timeout": 1.0, **options}
    clock = Clock()
    fleet = Fleet(connection_options(params))
    runs: list[Run] = []
    timeline = Timeline(clock, lambda entry: hook(runs[0], entry) if hook else None)
    runs.append(Run(fleet, failover_request(params), clock, timeline))
    try:
        return fail_over(runs[0])
    finally:
        fleet.close()


def disturbed(lab: Lab, case: Case, options: Mapping[str, Any], places: Mapping[str, Host]) -> dict[str, Any]:
    """A run in whose course the cut is made, and mended in time."""
    check_moment(case.step)
    made = threading.Event()
    timers: list[threading.Timer] = []

    def disturb(run: Run, entry: Entry) -> None:
        if not is_moment(entry, case.step) or made.is_set():
            return
        made.set()
        host = places.get(case.host)
        if host is None:
            leader = run.record.leader or (run.record.plan and run.record.plan.leaders[0])
            host = next(host for host in lab.hosts if host.sentinel == str(leader))
        lab.cut(host, case.cut)
        if case.heal_s is not None:
            timers.append(threading.Timer(case.heal_s, lab.mend))
            timers[0].start()

    result = program(lab, {**options, **case.options}, disturb)
    if not made.is_set():
        raise NeverCameError(f"the run never came to {case.step}: {result['outcome']} {result.get('msg')}")
    for timer in timers:
        timer.join()
    return result


def again(lab: Lab, options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Runs again as long as the result says that it should. The last result, and the errors before.

    It is refused until the Sentinels see each other.
    """
    errors: list[str] = []
    deadline_s = time.monotonic() + AGAIN_S
    while True:
        result = program(lab, options)
        once_more = result["outcome"] == "refused" or sentinel_was_faster(result)
        if not once_more or time.monotonic() > deadline_s:
            return result, errors
        errors.append(str(result["error"]))
        time.sleep(RETRY_S)


def sentinel_was_faster(result: Mapping[str, Any]) -> bool:
    """Whether the leader had promoted another replica, which has everything too, when the news came: on a host without a processor to spare, it may.

    Ours was a master too then, and nobody can show that nothing was written there, unless the run has made it a replica again.
    """
    promoted = any(note.startswith("Sentinel promoted ") and " instead of " in note for note in result["notes"])
    shown = result["lossless"] or "was made a master too" in result["lossless_reason"]
    return bool(promoted and result["outcome"] == "incomplete" and shown)


def contradictions(lab: Lab, result: Mapping[str, Any], old: Host) -> list[str]:
    """Where a result is not what redis-cli says."""
    outcome = result["outcome"]
    found = [f"lossless, though {outcome}"] if result["lossless"] and outcome not in ("switched", "incomplete") else []
    if outcome in ("refused", "aborted"):
        return found + _contradictions_of_no_move(lab, result, old)
    if outcome in ("switched", "unchanged", "incomplete"):
        return found + _contradictions_of_a_move(lab, result)
    return found


def _contradictions_of_no_move(lab: Lab, result: Mapping[str, Any], old: Host) -> list[str]:
    outcome, roles, found = result["outcome"], lab.roles(), []
    left = any("set replica-priority back" in note for note in result["notes"])
    if result["changed"] is not left:
        found.append(f"changed is {result['changed']}, though {outcome}")
    if roles[old.node] != "master" or not lab.takes_writes(old):
        found.append(f"{outcome}, and {old.node} is no master that takes writes: {roles}")
    if set(lab.named().values()) != {old.node}:
        found.append(f"{outcome}, and the Sentinels name {lab.named()}")
    return found


def _contradictions_of_a_move(lab: Lab, result: Mapping[str, Any]) -> list[str]:
    outcome, roles, found = result["outcome"], lab.roles(), []
    master = "{host}:{port}".format(**result["new_master"])
    deadline_s = time.monotonic() + SPREAD_S
    while (named := lab.named()) and set(named.values()) != {master} and time.monotonic() < deadline_s:
        time.sleep(RETRY_S)
    if outcome != "incomplete" and set(named.values()) != {master}:
        found.append(f"{outcome}, and the Sentinels name {named}")
    if roles[master] != "master" or not lab.takes_writes(lab.by_node(master)):
        found.append(f"{outcome}, and {master} is no master that takes writes: {roles}")
    # A run with nothing to do waits for nobody: a link that was cut may be on its way back.
    while outcome == "unchanged" and not _all_follow(master, roles) and time.monotonic() < deadline_s:
        time.sleep(RETRY_S)
        roles = lab.roles()
    if outcome != "incomplete" and not _all_follow(master, roles):
        found.append(f"{outcome}, and not everybody follows: {roles}")
    return found


def _all_follow(master: str, roles: Mapping[str, str]) -> bool:
    return {role for node, role in roles.items() if node != master} == {f"follows {master} connected"}


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the playbook looks at, and a person where that fails."""
    keys = ("outcome", "error", "phase", "msg", "lossless", "lossless_reason", "changed", "leader", "notes", "repaired")
    return {key: result.get(key) for key in keys}


def cut_and_mend(lab: Lab, writers: Writers, case: Case) -> dict[str, Any]:
    """Cut, mend, run again, count; what is to be said of it.

    Raises:
        LabError: The case did not come about.
    """
    if ill := lab.wait_until_whole():
        raise LabError(f"the deployment was not whole before {case.name}: {ill}")
    lab.dropped_packets = 0
    old = lab.by_node(next(iter(lab.named().values())))
    sibling, target = (host for host in lab.hosts if host is not old)
    # The first leads where the program promotes, the second where Sentinel does.
    sentinels = [sibling.sentinel, target.sentinel, old.sentinel]
    options = {"sentinels": sentinels, "target": target.node, "min_sentinels": 2, "timeout": 12}
    places = {"master": old, "target": target, "sibling": sibling}
    writers.begin()
    began_s = time.monotonic()
    first = disturbed(lab, case, options, places)
    first_s = time.monotonic() - began_s
    wrong = [f"first run: {text}" for text in contradictions(lab, first, old)]
    lab.mend()
    wait_until_nothing_is_on_its_way(lab)
    second, errors = again(lab, options)
    if second["outcome"] not in ("switched", "unchanged"):
        if any(entry["kind"] == "+odown" for result in (first, second) for entry in result["timeline"]):
            raise NeverCameError(f"Sentinel called the master down before the cut was mended: {second.get('msg')}")
        wrong.append(f"second run: {second['outcome']}, {second.get('msg')}")
    else:
        wrong += [f"second run: {text}" for text in contradictions(lab, second, old)]
    wrong += [f"in the end: {text}" for text in (*lab.wait_until_whole(), *lab.left_over())]
    recording = writers.end(next(iter(lab.named().values())))
    wrong += [f"{recording[name]} {name}" for name in ("writes_lost", "denied_but_present") if recording[name]]
    figures = Path(os.environ["LAB_RESULTS"]) / f"partition-{case.name}.json"
    figures.write_text(json.dumps({**recording, "name": case.name}))
    return {
        "first": {**summary(first), "sentinel_was_faster": sentinel_was_faster(first), "took_s": round(first_s, 1)},
        "second": {**summary(second), "before": errors},
        "recording": recording,
        "dropped_packets": lab.dropped_packets,
        "wrong": wrong,
        "timelines": [result["timeline"] for result in (first, second)] if wrong else [],
    }


def one_after_the_other(description: Mapping[str, Any], cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """What is to be said of each, in their order. One that did not come about is tried anew, some times; then it is told as wrong.

    What comes after it begins with shells and writers of its own.
    """
    left = list(cases)
    tries = Counter[str]()
    while left:
        with Lab(description) as lab, Writers(lab) as writers:
            for case in list(left):
                began_s = time.monotonic()
                left.remove(case)
                tries[case.name] += 1
                try:
                    said = cut_and_mend(lab, writers, case)
                except (LabError, OSError, LookupError, ValueError, subprocess.SubprocessError) as error:
                    if isinstance(error, NeverCameError) and tries[case.name] < MOST_TRIES:
                        left.insert(0, case)
                    else:
                        yield {"name": case.name, "wrong": [traceback.format_exc()]}
                    break
                yield {"name": case.name, "took_s": round(time.monotonic() - began_s, 1), **said}


def main(description: Mapping[str, Any], cases: Sequence[Case]) -> int:
    """Does all of them."""
    print(json.dumps(list(one_after_the_other(description, cases))))
    return 0


if __name__ == "__main__":
    request = json.load(sys.stdin)
    sys.exit(main(request["lab"], [Case(**case) for case in request["cases"]]))
