# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts modules in a moment: each is a fork of this process, which has loaded what all of them import.

    python -P module_forks.py ADDRESS     serves at a Unix socket until its standard input ends

A request is one line of JSON, and comes with the files that are to be the standard ones. It is of one of two kinds.

- A module of the collection by its name, as `python -m` would run it. The answer begins with a line that has the process id of the module; what
  follows is what the module prints.
- A file, or what comes on standard input, as `python FILE` would run it: see `forked_python.py`. It finds Python's own library and redis-py as they are
  loaded here. Ansible and the collection it has in the archive that Ansible has made of the module: what is loaded here takes the place of what is the
  same there, and of nothing else. The answer is how the process ended.

It runs in the Python of the modules, which has nothing of the lab.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import types
import zipimport
import zlib
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

MODULES = "ansible_collections.redis_ha.sentinel.plugins.modules"
OWN = ("ansible", "ansible_collections", "sitecustomize")
"""What a file has in its archive, or loads for itself."""
OWN_PATH = os.environ.get("PYTHONPATH", "").split(os.pathsep)
"""Where this process has the collection from."""


class Loaded(Loader):
    """A module that is loaded already."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """As Python asks each loader."""
        del spec
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is left to do."""


class SameInArchive:
    """Finds what is loaded already, where the archive that stands first in the path has the same file."""

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[types.ModuleType, str, int]] = {}

    def keep(self) -> None:
        """What is loaded by now."""
        for name, module in sys.modules.items():
            file = getattr(module, "__file__", None)
            if file and name.partition(".")[0] in OWN and not name.startswith(f"{MODULES}."):
                path = name.replace(".", "/") + ("/__init__.py" if hasattr(module, "__path__") else ".py")
                with open(file, "rb") as source:
                    self._loaded[name] = module, path, zlib.crc32(source.read())

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """As Python asks each finder."""
        del path, target
        known: dict[str, dict[str, tuple[Any, ...]]] = vars(zipimport)["_zip_directory_cache"]
        archive = sys.path[0]
        module, file, checksum = self._loaded.get(name, (None, "", 0))
        entry = known.get(archive, {}).get(file)
        if module is None or entry is None or entry[-1] != checksum:
            return None
        if hasattr(module, "__path__"):
            # What is in the package is in the archive, or it is not there.
            module.__path__ = [f"{archive}/{name.replace('.', '/')}"]
        return ModuleSpec(name, Loaded(module), origin=f"{archive}/{file}", is_package=hasattr(module, "__path__"))


SAME = SameInArchive()


def load() -> None:
    """Imports every module, and so what they import."""
    for found in pkgutil.iter_modules(importlib.import_module(MODULES).__path__):
        importlib.import_module(f"{MODULES}.{found.name}")
    SAME.keep()
    # What is there already is not looked through, and so not copied, in each fork.
    gc.collect()
    gc.freeze()


def read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request, and the files that came with it."""
    line, files, _flags, _address = socket.recv_fds(connection, 1 << 20, 3)
    while line and not line.endswith(b"\n"):
        line += connection.recv(1 << 20)
    return json.loads(line), files


def begin(environment: dict[str, str], words: list[str], files: tuple[int, int, int]) -> None:
    """In the fork: what a new process has."""
    for number, source in enumerate(files):
        os.dup2(source, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words


def become_module(request: dict[str, Any], connection: socket.socket, files: list[int]) -> None:
    """In the fork: runs a module of the collection."""
    connection.sendall(b"%d\n" % os.getpid())
    nothing = os.open(os.devnull, os.O_RDONLY)
    begin(request["environment"], [request["name"], request["arguments"]], (nothing, connection.fileno(), files[0]))
    runpy.run_module(f"{MODULES}.{request['name']}", run_name="__main__", alter_sys=True)


def become_file(request: dict[str, Any], files: list[int]) -> None:
    """In the fork: runs a file that has Ansible and the collection in it."""
    begin(request["environment"], request["words"], (files[0], files[1], files[2]))
    for file in files:
        os.close(file)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    added = [path for path in request["environment"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = added + [path for path in sys.path if path not in OWN_PATH]
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")
    sys.meta_path.insert(0, SAME)
    path = sys.argv[0]
    main = types.ModuleType("__main__")
    vars(main)["__builtins__"] = __builtins__
    if path == "-":
        text = sys.stdin.buffer.read()
    else:
        vars(main)["__file__"] = path
        with open(path, "rb") as source:
            text = source.read()
    sys.modules["__main__"] = main
    exec(compile(text, path, "exec", dont_inherit=True), vars(main))


class Forks:
    """The processes that were forked, and who waits for the end of which."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._waiting: dict[int, socket.socket] = {}
        self._woken, waker = os.pipe()
        os.set_blocking(waker, False)
        # The end of a fork makes the pipe readable, and so is seen at once.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Forks for each request, until standard input ends."""
        while True:
            ready = select.select([self._listener, self._woken, sys.stdin], [], [])[0]
            if sys.stdin in ready:
                return
            if self._woken in ready:
                os.read(self._woken, 1 << 12)
                self._tell_ends()
            if self._listener in ready:
                connection, _address = self._listener.accept()
                # One that has ended before it has asked for anything has no request.
                with contextlib.suppress(ValueError):
                    self._fork(connection, *read(connection))

    def _fork(self, connection: socket.socket, request: dict[str, Any], files: list[int]) -> None:
        pid = os.fork()
        if not pid:
            self._become(connection, request, files)
        for file in files:
            os.close(file)
        if "words" in request:
            self._waiting[pid] = connection
        else:
            connection.close()

    def _tell_ends(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid in self._waiting:
                    with self._waiting.pop(pid) as connection, contextlib.suppress(BrokenPipeError):
                        connection.sendall(b"%d" % os.waitstatus_to_exitcode(status))

    def _become(self, connection: socket.socket, request: dict[str, Any], files: list[int]) -> NoReturn:
        """What is raised ends this process as Python ends any."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._listener.close()
        for other in self._waiting.values():
            other.close()
        if "words" in request:
            connection.close()
            become_file(request, files)
        else:
            become_module(request, connection, files)
        raise SystemExit(0)


if __name__ == "__main__":
    load()
    forks = Forks(sys.argv[1])
    print("ready", flush=True)
    forks.serve()
