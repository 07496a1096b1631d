# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One server process: a data node or a Sentinel."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lab.errors import LabError, NotToBeHadError
from lab.machine import times_slower
from lab.recorder_writer import NAMELESS
from lab.servers import Server, server_environment

if TYPE_CHECKING:
    from lab.certificates import Certificates

Role = Literal["node", "sentinel"]

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 20.0
_POLL_S = 0.01

# The kernel kills a server when the thread that started it ends, so all are started by one thread that lives as long
# as this process. The shell looks whether its parent died before the kernel was told.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-spawner")
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", '[ "$PPID" = "$0" ] || exit 1; exec "$@"')


@dataclass(frozen=True)
class Access:
    """How the lab itself logs in."""

    user: str | None = None
    password: str | None = None
    certificates: Certificates | None = None


class Process:
    """A data node or a Sentinel, its address, and what can be done to it.

    `role` is what the process was started as ("node" or "sentinel"); whether a node is the master now is asked with
    `command("ROLE")` or `Deployment.master`.
    """

    def __init__(
        self,
        server: Server,
        role: Role,
        name: str,
        host: str,
        port: int,
        folder: Path,
        config: str,
        access: Access,
    ) -> None:
        self.server = server
        self.role: Role = role
        self.name = name
        self.host = host
        self.port = port
        self.config_path = folder / f"{name}.conf"
        self.log_path = folder / f"{name}.log"
        self._access = access
        self._popen: subprocess.Popen[bytes] | None = None
        self.config_path.write_text(config)

    def __repr__(self) -> str:
        return f"<{self.name} {self.address}>"

    @property
    def address(self) -> str:
        """`host:port`, IPv6 as `[host]:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id, also of a process that has ended."""
        if self._popen is None:
            raise LabError(f"{self.name} was never started")
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def paused(self) -> bool:
        """Whether the process is stopped by `pause`."""
        return self.alive and self._state() == "T"

    def log_text(self, last_lines: int | None = None) -> str:
        """What the process logged, over all its starts."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        if last_lines is not None:
            text = "\n".join(text.splitlines()[-last_lines:])
        return text

    def client(self, timeout_s: float = 5.0) -> redis.Redis:
        """A client of its own that never retries and speaks RESP2."""
        certificates = self._access.certificates
        return redis.Redis(
            host=self.host,
            port=self.port,
            username=self._access.user,
            password=self._access.password,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            decode_responses=True,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            **NAMELESS,
            **(certificates.client_options() if certificates else {}),
        )

    def command(self, *args: str | int | float | bytes, timeout_s: float = 5.0) -> Any:
        """Runs one command over a connection of its own."""
        with self.client(timeout_s) as client:
            return client.execute_command(*args)

    # Starting and ending

    def launch(self) -> None:
        """Starts the process and does not wait until it answers."""
        if self.alive:
            raise LabError(f"{self.name} runs already")
        self._popen = _spawner.submit(self._spawn).result()

    def wait_up(self, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Waits until the process answers."""
        began_s = time.monotonic()
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.AuthenticationError as error:
                    raise LabError(f"the lab cannot log in to {self.name}: {error}") from error
                except redis.BusyLoadingError as error:
                    last: Exception = error
                except (redis.ConnectionError, redis.TimeoutError) as error:
                    last = error
                except redis.ResponseError:
                    # It answers, though not what was asked: PING may be refused or a replica may be out of sync.
                    return
                if not self.alive:
                    raise self._ended_while_starting()
                if time.monotonic() - began_s > timeout_s * times_slower():
                    raise LabError(f"{self.name} does not answer after {timeout_s} s: {last}\n{self.log_text(20)}")
                time.sleep(_POLL_S)

    def _ended_while_starting(self) -> LabError:
        told = self.log_text(20)
        if re.search(r"Failed finding TLS support|'tls-\S+ .*'\s+Bad directive", told):
            return NotToBeHadError(f"{self.server.name} is built without TLS; servers of Debian have it")
        return LabError(f"{self.name} ended while starting:\n{told}")

    def start(self, server: Server | None = None) -> None:
        """Starts the process, as another server if one is given, and waits until it answers."""
        self.server = server or self.server
        self.launch()
        self.wait_up()

    def stop(self) -> None:
        """Ends the process in order (SIGTERM) and waits until it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process at once (SIGKILL) and waits until it has ended."""
        self._end(signal.SIGKILL)

    def restart(self, server: Server | None = None) -> None:
        """Ends the process in order if it runs, starts it again and waits until it answers."""
        if self.alive:
            self.stop()
        self.start(server)

    def pause(self) -> None:
        """Freezes the process (SIGSTOP): it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)
        self._wait_state("T", expected=True)

    def resume(self) -> None:
        """Lets a frozen process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)
        self._wait_state("T", expected=False)

    def _spawn(self) -> subprocess.Popen[bytes]:
        argv = [*self.server.argv, str(self.config_path), *(["--sentinel"] if self.role == "sentinel" else [])]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [*_DIE_WITH_PARENT, str(os.getpid()), *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=server_environment(),
                # A Ctrl-C on the terminal is for the lab, which then ends the servers itself.
                start_new_session=True,
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._popen is None or not self.alive:
            raise LabError(f"{self.name} does not run")
        self._popen.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._popen is None or not self.alive:
            return
        self._popen.send_signal(number)
        self._popen.send_signal(signal.SIGCONT)
        try:
            self._popen.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name} does not end after {number.name}:\n{self.log_text(20)}") from error

    def _state(self) -> str:
        """One letter, see proc(5)."""
        found = re.search(r"^State:\s+(\S)", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return found[1] if found else ""

    def _wait_state(self, state: str, *, expected: bool) -> None:
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while (self._state() == state) is not expected:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is in state {self._state()}, wanted {'' if expected else 'not '}{state}")
            time.sleep(0.001)
