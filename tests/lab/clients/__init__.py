# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client libraries, the settings under which they are measured, and where they come from.

A recorder's client ``LIBRARY: SETTING`` is one of them. Each application is a process of its own; ``run.py`` starts as many as the recorder wants.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError, NotToBeHadError

SEPARATOR = ": "
DEFAULT = "as it comes"
_SOURCES = Path(__file__).resolve().parent
_CHECKOUT = Path(__file__).resolve().parents[3]
_FAST = {"retries": 20, "base_s": 0.01, "cap_s": 0.1}
"""Waits 10 ms first and never more than 100 ms: about two seconds in all."""
_AGAIN = {"again": 500, "again_ms": 10}
"""The application itself makes a failed write again: 500 times, 10 ms apart, which is five seconds in all."""


@dataclass(frozen=True)
class Library:
    """A client library.

    Attributes:
        name: What it is called.
        language: In which applications use it.
        runtime: Which writer runs it: ``python``, ``node``, ``php``, ``ruby`` or ``perl``.
        package: Whose version is the library's: of PyPI, npm or Debian, by the runtime.
        settings: Label -> settings, as its writer understands them.
        debian: Packages that hold it, or what it needs.
    """

    name: str
    language: str
    runtime: str
    package: str
    settings: Mapping[str, Mapping[str, Any]] = field(hash=False)
    debian: tuple[str, ...] = ()


_REDIS_PY: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "retries off": {"retries": 0},
    "retries of 10 to 100 ms": _FAST,
    "retries off, writes again": {"retries": 0, **_AGAIN},
}
_VALKEY_PY: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "retries of 10 to 100 ms": _FAST,
    "writes again": dict(_AGAIN),
}
_IOREDIS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "reconnectOnError": {"reconnect_on_readonly": True},
    "reconnectOnError, retryStrategy 20 ms, failoverDetector": {
        "reconnect_on_readonly": True,
        "retry_ms": 20,
        "options": {"failoverDetector": True},
    },
}
_DIRECTLY = {**_AGAIN, "reset": True}

LIBRARIES = (
    Library("redis-py", "Python", "python", "redis", _REDIS_PY),
    Library("redis-py asyncio", "Python", "python", "redis", _REDIS_PY),
    Library("valkey-py", "Python", "python", "valkey", _VALKEY_PY),
    Library("valkey-py asyncio", "Python", "python", "valkey", _VALKEY_PY),
    Library(
        "coredis",
        "Python",
        "python",
        "coredis",
        {DEFAULT: {}, "retry_policy of 10 to 100 ms": _FAST, "writes again, on a new client": _DIRECTLY},
    ),
    Library(
        "Celery",
        "Python",
        "python",
        "celery",
        {
            DEFAULT: {},
            "acks_late, autoretry_for, publish retries": {
                "celery": {
                    "task_acks_late": True,
                    "task_publish_retry_policy": {
                        "max_retries": 50,
                        "interval_start": 0.01,
                        "interval_step": 0.01,
                        "interval_max": 0.1,
                    },
                },
                "task": {"max_retries": 10, "retry_backoff": False, "default_retry_delay": 1},
            },
        },
    ),
    Library("ioredis", "Node.js", "node", "ioredis", _IOREDIS),
    Library("iovalkey", "Node.js", "node", "iovalkey", _IOREDIS),
    Library(
        "node-redis",
        "Node.js",
        "node",
        "redis",
        {
            DEFAULT: {},
            "scanInterval 100 ms": {"options": {"scanInterval": 100}},
            "maxCommandRediscovers 1000": {"options": {"maxCommandRediscovers": 1000}},
            "writes again": dict(_AGAIN),
        },
    ),
    Library(
        "predis",
        "PHP",
        "php",
        "php-predis",
        {
            DEFAULT: {},
            "retry wait 20 ms": {"retry_wait_ms": 20, "retry_limit": 100},
            "writes again, on a new client": {**_DIRECTLY, "retry_wait_ms": 20, "retry_limit": 100},
        },
        ("php-cli", "php-predis"),
    ),
    Library(
        "phpredis",
        "PHP",
        "php",
        "php-redis",
        {"asks Sentinel after an error": {"reset": True}, "writes again, on a new connection": _DIRECTLY},
        ("php-cli", "php-redis"),
    ),
    Library(
        "redis-rb",
        "Ruby",
        "ruby",
        "ruby-redis",
        {
            DEFAULT: {},
            "reconnect_attempts 20, reconnect_delay 20 ms": {
                "redis": {"reconnect_attempts": 20, "reconnect_delay": 0.02, "reconnect_delay_max": 0.1}
            },
            "the same, and writes again": {
                **_DIRECTLY,
                "redis": {"reconnect_attempts": 20, "reconnect_delay": 0.02, "reconnect_delay_max": 0.1},
            },
        },
        ("ruby-redis",),
    ),
    Library(
        "Redis.pm",
        "Perl",
        "perl",
        "libredis-perl",
        {
            DEFAULT: {},
            "reconnect 5 s, every 20 ms": {"redis": {"reconnect": 5, "every": 20_000}},
            "writes again, on a new client": _DIRECTLY,
        },
        ("libredis-perl",),
    ),
    Library(
        "HAProxy",
        "any, here redis-py",
        "python",
        "haproxy",
        {
            "inter 1s": {"proxy": "check inter 1s", **_FAST},
            "inter 100ms, on-marked-down shutdown-sessions": {
                "proxy": "check inter 100ms fall 1 rise 1 on-marked-down shutdown-sessions",
                **_FAST,
            },
            "the same, and writes again": {
                "proxy": "check inter 100ms fall 1 rise 1 on-marked-down shutdown-sessions",
                **_DIRECTLY,
            },
        },
        ("haproxy",),
    ),
)


def names() -> list[str]:
    """Every library with every setting, as a recorder's ``client``."""
    return [SEPARATOR.join((library.name, label)) for library in LIBRARIES for label in library.settings]


def find(name: str) -> tuple[Library, Mapping[str, Any]]:
    """The library and the settings of a recorder's ``client``.

    Raises:
        LabError: There is none of that name.
    """
    wanted, _separator, label = name.partition(SEPARATOR)
    for library in LIBRARIES:
        if library.name == wanted and label in library.settings:
            return library, library.settings[label]
    raise LabError(f"no client {name!r}; there are {', '.join(names())}")


def supervisor() -> list[str]:
    """The command that runs the applications of a client."""
    return [sys.executable, "-m", "lab.clients.run"]


def command(library: Library) -> tuple[list[str], dict[str, str]]:
    """What starts one application (append the configuration file and its number), and its environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "REDIS_"))}
    if library.runtime == "python":
        return [str(_python()), str(_SOURCES / "writer.py")], inherited
    if library.runtime == "node":
        modules = {"NODE_PATH": str(_folder() / "node" / "node_modules")}
        return ["node", str(_SOURCES / "node" / "writer.js")], inherited | modules
    endings = {"php": "php", "ruby": "rb", "perl": "pl"}
    return [library.runtime, str(_SOURCES / f"writer.{endings[library.runtime]}")], inherited


def celery_worker() -> list[str]:
    """The command that starts a worker of Celery."""
    words = ["-m", "celery", "--app", "celery_tasks", "--workdir", str(_SOURCES), "worker", "--loglevel", "WARNING"]
    return [str(_python()), *words, "--pool", "solo", "--without-mingle", "--without-gossip"]


# Installing


def install(library: Library) -> None:
    """Sees to it that a library is there; what is not is installed, for this checkout alone where that is possible.

    Raises:
        LabError: It cannot be had here; the message says what would bring it.
    """
    missing = [package for package in library.debian if _debian_version(package) is None]
    if missing:
        _install_debian(missing)
    if library.runtime == "python":
        _make("python", "requirements.txt", _make_python)
    elif library.runtime == "node":
        _make("node", "node/package-lock.json", _make_node)


def version(library: Library) -> str:
    """The version of a library that is installed."""
    if library.debian:
        return re.split(r"[-+]", _debian_version(library.package) or "unknown")[0]
    if library.runtime == "node":
        script = f"console.log(require('{library.package}/package.json').version)"
        return _output(["node", "-e", script], NODE_PATH=str(_folder() / "node" / "node_modules"))
    script = f"from importlib.metadata import version; print(version('{library.package}'))"
    return _output([str(_python()), "-c", script])


def _folder() -> Path:
    return _CHECKOUT / ".cache" / "clients"


def _python() -> Path:
    return _folder() / "python" / "bin" / "python"


def _make(name: str, source: str, make: Any) -> None:
    """Makes a folder anew where what it is made from has changed."""
    folder = _folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256((_SOURCES / source).read_bytes()).hexdigest()
    made = folder / ".made-from"
    with (_folder() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != wanted:
            print(f"clients: installing {source} into {folder}", file=sys.stderr)
            make(folder)
            made.write_text(wanted)


def _make_python(folder: Path) -> None:
    _output([sys.executable, "-m", "venv", "--clear", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _output([*pip, "--requirement", str(_SOURCES / "requirements.txt")])


def _make_node(folder: Path) -> None:
    if shutil.which("npm") is None:
        raise NotToBeHadError(
            "the clients of Node.js need Node.js 20 or newer, with npm: sudo apt-get install nodejs npm"
        )
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(_SOURCES / "node" / name, folder / name)
    _output(["npm", "ci", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"])


def _debian_version(package: str) -> str | None:
    if shutil.which("dpkg-query") is None:
        return None
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}", package]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    status, _space, found = done.stdout.partition(" ")
    return found.rpartition(":")[2] if status == "installed" else None


def _install_debian(packages: list[str]) -> None:
    install_command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NotToBeHadError(f"needs {', '.join(packages)}: sudo {install_command}, on Debian or Ubuntu")
    print(f"clients: {install_command}", file=sys.stderr)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=120"]
    _output(["apt-get", "-q", *wait, "update"], **quiet)
    _output(["apt-get", "-q", *wait, "install", "--yes", "--no-install-recommends", *packages], **quiet)


def _output(words: list[str], **environment: str) -> str:
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"`{' '.join(words)}` failed: {(done.stdout + done.stderr).strip()[-800:]}")
    return done.stdout.strip()
