# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records what applications see while a master is moved: what was acknowledged, and what of it is there after.

Use it as::

    with Recorder(deployment.sentinel_addresses, "mymaster", nodes=nodes) as recorder:
        recorder.wait_for_writes(500)
        ...  # move the master
        recorder.wait_for_writes(500)
        recording = recorder.finish(new_master)
    recorder.cleanup(new_master)
"""

from __future__ import annotations

import bisect
import fcntl
import hashlib
import itertools
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import redis

from lab.errors import LabError, NotToBeHadError
from lab.recorder_writer import (
    ACKNOWLEDGED,
    COUNTERS_BYTES,
    END,
    NOT_SENT,
    REFUSED,
    UNKNOWN,
    Configuration,
    connection_options,
    parse_address,
    reachable,
)

Client = Literal["redis-py", "ioredis", "node-redis"]
"""The clients that find their master through Sentinel and are observed from below, so that what the library repeats by itself is known, too."""
_PYTHON_CLIENTS = ("redis-py", "redis-py nodes", "redis-py cluster")

_CHECKOUT = Path(__file__).resolve().parents[2]
_NODE_SOURCES = Path(__file__).resolve().parent / "recorder_node"
_START_TIMEOUT_S = 120
_READ_TIMEOUT_S = 10.0
_POLL_S = 0.02
_READ_BATCH = 1000
_UNLINK_BATCH = 200


class RecorderError(LabError):
    """The recording cannot be made, or cannot be trusted."""


@dataclass(frozen=True)
class Access:
    """How the Sentinels and the nodes let a client in; the names are those of the collection's options."""

    redis_username: str | None = None
    redis_password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: bool = False
    sentinel_tls: bool | None = None
    validate_certs: bool = True
    ca_certs: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None


@dataclass(frozen=True)
class SyncCounters:
    """What a node has counted, since it started, of the resynchronisations that it was asked for."""

    run_id: str
    full: int
    partial: int
    partial_refused: int


@dataclass(frozen=True)
class Resynchronisations:
    """Resynchronisations during a recording, summed over the nodes that served them.

    A node that restarted has begun to count anew: what it counted before that is lost, and the node is named. So is
    one that no longer answers.
    """

    full: int
    partial: int
    partial_refused: int
    restarted: tuple[str, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True)
class Recording:
    """What became of every write. Times are seconds; moments are those of this machine's `time.monotonic()`.

    A write is lost if it was acknowledged and the new master lacks it. The longest gap is the longest stretch between
    two consecutive acknowledgements of writes that are there after, over all writers together. The recording begins
    with the first acknowledgement and ends when the end was asked for; both bound the gap too, or a master that never
    came back would leave none. What one writer alone waited longest is `longest_gap_of_a_writer_s`, and `refused_of_a_writer`
    the most that were refused to one. `denied_but_present` counts writes that were refused or not sent and are there all the
    same: anything but 0 means that the recorder cannot be trusted.
    """

    client: str
    began_s: float
    duration_s: float
    timed_out: bool
    writes_acknowledged: int
    writes_lost: int
    writes_per_s: float
    longest_gap_s: float
    longest_gap_began_s: float
    longest_gap_began_after_s: float
    longest_gap_of_a_writer_s: float
    refused: int
    refused_of_a_writer: int
    refused_by_code: Mapping[str, int]
    not_sent: int
    unknown: int
    unknown_but_present: int
    denied_but_present: int
    writer_cpu_s: float
    resynchronisations: Resynchronisations | None


class Recorder:
    """Writers in a process of their own, as ordinary applications that find their master through Sentinel.

    redis-py's writers send nothing twice by themselves; after a failed write they disconnect, ask the Sentinels again
    and go on with the next. Those of ioredis and node-redis keep their libraries' default behaviour, which resends:
    a write counts as the application sees it end. `lab.clients` has more libraries, and settings; `redis-py nodes` are told
    the nodes themselves, `redis-py cluster` the nodes of a cluster. Writing ends by itself after `max_s`, or with this process.
    """

    def __init__(
        self,
        sentinels: Sequence[str],
        master_name: str,
        *,
        nodes: Sequence[str] = (),
        client: str = "redis-py",
        writers: int = 4,
        pause_ms: float = 4.0,
        backoff_ms: float = 10.0,
        max_s: float = 120.0,
        reply_timeout_s: float = 5.0,
        key_prefix: str = "recorder",
        access: Access | None = None,
        address_map: Mapping[str, str] | None = None,
    ) -> None:
        if address_map and client == "node-redis":
            raise RecorderError("node-redis cannot be told of other addresses than those that Sentinel announces")
        access = access or Access()
        self._client = client
        self._nodes = tuple(nodes)
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._began_ns = 0
        self._summary: dict[str, Any] | None = None
        self._durable_ns: list[int] = []
        self._resynchronisations_before: dict[str, SyncCounters] = {}
        self._configuration: Configuration = {
            "client": client,
            "sentinels": [parse_address(address) for address in sentinels],
            "nodes": [parse_address(address) for address in nodes],
            "master_name": master_name,
            "writers": writers,
            "pause_ms": pause_ms,
            "backoff_ms": backoff_ms,
            "max_s": max_s,
            "reply_timeout_s": reply_timeout_s,
            "key_prefix": f"{key_prefix}:{secrets.token_hex(6)}:",
            "directory": "",
            "address_map": dict(address_map or {}),
            "redis_username": access.redis_username,
            "redis_password": access.redis_password,
            "sentinel_username": access.sentinel_username,
            "sentinel_password": access.sentinel_password,
            "tls": access.tls,
            "sentinel_tls": access.tls if access.sentinel_tls is None else access.sentinel_tls,
            "validate_certs": access.validate_certs,
            "ca_certs": access.ca_certs,
            "client_cert_file": access.client_cert_file,
            "client_key_file": access.client_key_file,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Counts the resynchronisations so far, and begins to write."""
        if self._process is not None:
            raise RecorderError("a recorder records once; make another one")
        argv, environment = writer_program(self._client)
        self._directory = Path(tempfile.mkdtemp(prefix="redis-ha-recorder-"))
        self._configuration["directory"] = str(self._directory)
        try:
            self._start(argv, environment)
        except BaseException:
            self.close()
            raise

    @property
    def acknowledged(self) -> int:
        """How many writes were acknowledged so far, as the writers see it."""
        return self._count(0)

    @property
    def failed(self) -> int:
        """How many writes were refused, not sent or left without an answer so far, as the writers see it."""
        return self._count(8)

    def wait_for_writes(self, count: int = 1, timeout_s: float = 60.0) -> None:
        """Returns as soon as `count` further writes were acknowledged."""
        assert self._process is not None
        wanted = self.acknowledged + count
        deadline = time.monotonic() + timeout_s
        while (acknowledged := self.acknowledged) < wanted:
            if self._process.poll() is not None:
                raise self._died()
            if time.monotonic() > deadline:
                raise RecorderError(f"{wanted - acknowledged} of {count} writes were not acknowledged in {timeout_s} s")
            time.sleep(_POLL_S)

    def wait_for_every_writer(self, timeout_s: float = 10.0) -> bool:
        """Returns as soon as each writer has had a further write acknowledged; whether all had in time."""
        assert self._process is not None
        before = self._counts(0)
        deadline = time.monotonic() + timeout_s
        while not all(now > then for now, then in zip(self._counts(0), before, strict=True)):
            if self._process.poll() is not None:
                raise self._died()
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def stop(self) -> None:
        """Ends the writing; a write under way is waited for, at most its time-out."""
        if self._summary is not None:
            return
        if self._process is None:
            raise RecorderError("the recorder was not started")
        try:
            output, _errors = self._process.communicate(END, timeout=3 * self._configuration["reply_timeout_s"] + 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise self._died() from None
        if self._process.returncode != 0:
            raise self._died()
        self._summary = json.loads(output)

    def finish(self, new_master: str, nodes: Sequence[str] | None = None) -> Recording:
        """Ends the writing, reads back from the new master, and counts the resynchronisations since the start.

        `nodes` are the nodes to count at now; those that were given first, unless others are named.
        """
        self.stop()
        assert self._summary is not None
        with self._connect(new_master) as master:
            role = master.execute_command("ROLE")[0]
            if role != b"master":
                raise RecorderError(f"cannot read back from {new_master}: it is no master but a {role.decode()}")
            tally = _Tally()
            for writer in range(self._configuration["writers"]):
                for records in _batches(self._directory / f"writer-{writer}.jsonl"):
                    keys = [self._key(writer, record[0]) for record in records]
                    tally.add(records, master.mget(keys), writer)
        counted = sum(tally.outcomes.values())
        if counted != sum(self._summary["attempts"]):
            raise RecorderError(f"the writers made {sum(self._summary['attempts'])} attempts and recorded {counted}")
        ended_ns = self._summary["ended_ns"]
        self._durable_ns = sorted(itertools.chain(*tally.durable_ns_of.values()))
        began_ns = min(tally.first_acknowledged_ns or self._began_ns, ended_ns)
        duration_s = (ended_ns - began_ns) / 1e9
        gap_ns, gap_began_ns = longest_gap(self._durable_ns, began_ns, ended_ns)
        gaps_of_writers_ns = [longest_gap(moments, began_ns, ended_ns)[0] for moments in tally.durable_ns_of.values()]
        before, after = self._resynchronisations_before, self.sync_counters(nodes)
        return Recording(
            client=self._client,
            began_s=began_ns / 1e9,
            duration_s=duration_s,
            timed_out=self._summary["timed_out"],
            writes_acknowledged=tally.outcomes[ACKNOWLEDGED],
            writes_lost=tally.outcomes[ACKNOWLEDGED] - tally.present[ACKNOWLEDGED],
            writes_per_s=tally.outcomes[ACKNOWLEDGED] / duration_s if duration_s else 0.0,
            longest_gap_s=gap_ns / 1e9,
            longest_gap_began_s=gap_began_ns / 1e9,
            longest_gap_began_after_s=(gap_began_ns - began_ns) / 1e9,
            longest_gap_of_a_writer_s=max(gaps_of_writers_ns, default=ended_ns - began_ns) / 1e9,
            refused=tally.outcomes[REFUSED],
            refused_of_a_writer=max(tally.refused_of.values(), default=0),
            refused_by_code=dict(tally.codes),
            not_sent=tally.outcomes[NOT_SENT],
            unknown=tally.outcomes[UNKNOWN],
            unknown_but_present=tally.present[UNKNOWN],
            denied_but_present=tally.present[REFUSED] + tally.present[NOT_SENT],
            writer_cpu_s=self._summary["cpu_s"],
            resynchronisations=resynchronisations(before, after, self._nodes) if before or after else None,
        )

    def gap_within(self, from_s: float, to_s: float) -> tuple[float, float]:
        """Beginning and end of the longest gap of which a part lies between two moments; to be asked after `finish`."""
        first = max(bisect.bisect_right(self._durable_ns, from_s * 1e9) - 1, 0)
        moments = self._durable_ns[first : bisect.bisect_left(self._durable_ns, to_s * 1e9) + 1]
        gap_ns, began_ns = longest_gap(moments, moments[0], moments[-1] + 1)
        return began_ns / 1e9, (began_ns + gap_ns) / 1e9

    def sync_counters(self, nodes: Sequence[str] | None = None) -> dict[str, SyncCounters]:
        """What every node that answers has counted so far; a node that does not answer is left out."""
        counters = {}
        for node in self._nodes if nodes is None else nodes:
            with self._connect(node) as connection:
                try:
                    info = connection.info()
                except (redis.ConnectionError, redis.TimeoutError):
                    continue
            counters[node] = SyncCounters(
                run_id=info["run_id"],
                full=info["sync_full"],
                partial=info["sync_partial_ok"],
                partial_refused=info["sync_partial_err"],
            )
        return counters

    def cleanup(self, master: str) -> None:
        """Removes the keys that were written, few at a time so that nobody waits for it."""
        if self._summary is None:
            raise RecorderError("the recorder must be stopped first")
        with self._connect(master) as connection:
            for writer, attempts in enumerate(self._summary["attempts"]):
                for first in range(0, attempts, _UNLINK_BATCH):
                    last = min(first + _UNLINK_BATCH, attempts)
                    connection.unlink(*(self._key(writer, sequence) for sequence in range(first, last)))

    def close(self) -> None:
        """Ends the writing process, if it still runs, and removes what it recorded."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        if self._directory != Path():
            shutil.rmtree(self._directory)
            self._directory = Path()

    def _start(self, argv: list[str], environment: dict[str, str]) -> None:
        (self._directory / "counters").write_bytes(bytes(COUNTERS_BYTES * self._configuration["writers"]))
        self._resynchronisations_before = self.sync_counters()
        with (self._directory / "errors").open("wb") as errors:
            # A session of its own: an interrupt from the keyboard is for this process, which then ends the other.
            self._process = subprocess.Popen(
                argv,
                env=environment,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(self._configuration).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        answered, _writable, _failed = select.select([self._process.stdout], [], [], _START_TIMEOUT_S)
        began = self._process.stdout.readline() if answered else b""
        if not began:
            raise self._died()
        self._began_ns = json.loads(began)["began_ns"]

    def _count(self, offset: int) -> int:
        return sum(self._counts(offset))

    def _counts(self, offset: int) -> list[int]:
        counters = (self._directory / "counters").read_bytes()
        firsts = range(offset, len(counters), COUNTERS_BYTES)
        return [int.from_bytes(counters[first : first + 8], "little") for first in firsts]

    def _key(self, writer: int, sequence: int) -> str:
        return f"{self._configuration['key_prefix']}{writer}:{sequence}"

    def _connect(self, node: str) -> redis.Redis:
        host, port = reachable(*parse_address(node), self._configuration["address_map"])
        options = connection_options(self._configuration, to_sentinel=False) | {"socket_timeout": _READ_TIMEOUT_S}
        return redis.Redis(host=host, port=port, **options)

    def _died(self) -> RecorderError:
        assert self._process is not None
        state = "still runs" if self._process.poll() is None else f"ended with {self._process.returncode}"
        errors = (self._directory / "errors").read_text(errors="replace").strip()
        return RecorderError(f"the writing process {state} ({self._client}): {errors or 'it said nothing'}")


@dataclass
class _Tally:
    """The sum over records of what became of them; only the times of durable writes are kept one by one."""

    outcomes: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    durable_ns_of: dict[int, array[int]] = field(default_factory=dict)
    refused_of: Counter[int] = field(default_factory=Counter)
    first_acknowledged_ns: int | None = None

    def add(self, records: Sequence[list[Any]], values: Sequence[bytes | None], writer: int) -> None:
        durable_ns = self.durable_ns_of.setdefault(writer, array("Q"))
        for (sequence, _began_ns, ended_ns, outcome, *code), value in zip(records, values, strict=True):
            self.outcomes[outcome] += 1
            self.codes.update(code)
            self.refused_of[writer] += outcome == REFUSED
            if outcome == ACKNOWLEDGED:
                self.first_acknowledged_ns = min(ended_ns, self.first_acknowledged_ns or ended_ns)
            if value is None:
                continue
            if value != b"%d" % sequence:
                raise RecorderError(f"write {sequence} reads back as {value!r}: who else writes these keys?")
            self.present[outcome] += 1
            if outcome == ACKNOWLEDGED:
                durable_ns.append(ended_ns)


def longest_gap(acknowledged_ns: Iterable[int], began_ns: int, ended_ns: int) -> tuple[int, int]:
    """Length and beginning of the longest stretch without one of these moments, which come in order."""
    longest, longest_began = 0, began_ns
    previous = began_ns
    for moment in itertools.chain((ns for ns in acknowledged_ns if ns < ended_ns), (ended_ns,)):
        if moment - previous > longest:
            longest, longest_began = moment - previous, previous
        previous = moment
    return longest, longest_began


def resynchronisations(
    before: Mapping[str, SyncCounters], after: Mapping[str, SyncCounters], nodes: Iterable[str]
) -> Resynchronisations:
    """What the nodes counted between two readings; a node that is new or has restarted began at nothing."""
    known = {counters.run_id: counters for counters in before.values()}
    nothing = SyncCounters("", 0, 0, 0)
    pairs = [(known.get(now.run_id, nothing), now) for now in after.values()]
    return Resynchronisations(
        full=sum(now.full - then.full for then, now in pairs),
        partial=sum(now.partial - then.partial for then, now in pairs),
        partial_refused=sum(now.partial_refused - then.partial_refused for then, now in pairs),
        restarted=tuple(node for node in before if node in after and after[node].run_id != before[node].run_id),
        unread=tuple(node for node in nodes if node not in before or node not in after),
    )


def _batches(path: Path) -> Iterator[list[list[Any]]]:
    with path.open("rb") as lines:
        while batch := list(itertools.islice(lines, _READ_BATCH)):
            yield json.loads(b"[" + b",".join(batch) + b"]")


def writer_program(client: str) -> tuple[list[str], dict[str, str]]:
    """What writes by this client, and its environment.

    Raises:
        NotToBeHadError: The client needs what this machine has not.
    """
    if ": " in client:
        # Only who measures them has these: a host that runs applications has the recorder alone.
        from lab import clients

        clients.find(client)
        return clients.supervisor(), os.environ | {"PYTHONPATH": str(_CHECKOUT / "tests")}
    if client in _PYTHON_CLIENTS:
        # -P: the folder of the script holds modules of ours, whose names are no business of the libraries.
        return [sys.executable, "-P", str(Path(__file__).with_name("recorder_writer.py"))], dict(os.environ)
    node = shutil.which("node")
    if node is None:
        raise NotToBeHadError(
            f"the writers of {client} need Node.js 20 or newer, with npm: sudo apt-get install nodejs npm"
        )
    return [node, str(_NODE_SOURCES / "writer.js")], os.environ | {"NODE_PATH": str(_node_modules())}


def _node_modules() -> Path:
    """Where the Node.js libraries lie; they are installed on first use, and when another version is asked for."""
    configured = os.environ.get("REDIS_HA_LAB_CACHE")
    folder = (Path(configured).resolve() if configured else _CHECKOUT / ".cache") / "node"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256((_NODE_SOURCES / "package-lock.json").read_bytes()).hexdigest()
    installed = folder / "installed"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_text() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(_NODE_SOURCES / name, folder / name)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RecorderError(f"npm could not install the libraries into {folder}: {done.stderr.strip()}")
            installed.write_text(wanted)
    return folder / "node_modules"
