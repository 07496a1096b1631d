# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts modules in a moment: each is a fork of this process, which has loaded what all of them import.

    python -P module_forks.py ADDRESS     serves at a Unix socket until its standard input ends

A request is one line of JSON. The answer begins with a line that has the process id of the module; what follows is what the module prints.
It runs in the Python of the modules, which has nothing of the lab.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import runpy
import select
import socket
import sys

MODULES = "ansible_collections.redis_ha.sentinel.plugins.modules"


def load() -> None:
    """Imports every module, and so what they import."""
    for found in pkgutil.iter_modules(importlib.import_module(MODULES).__path__):
        importlib.import_module(f"{MODULES}.{found.name}")


def become(connection: socket.socket) -> None:
    """In the fork: runs the module whose request comes, as `python -m` would."""
    line, files, _flags, _address = socket.recv_fds(connection, 1 << 20, 1)
    while not line.endswith(b"\n"):
        line += connection.recv(1 << 20)
    request = json.loads(line)
    connection.sendall(b"%d\n" % os.getpid())
    for number, source in enumerate((os.open(os.devnull, os.O_RDONLY), connection.fileno(), files[0])):
        os.dup2(source, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [request["name"], request["arguments"]]
    runpy.run_module(f"{MODULES}.{request['name']}", run_name="__main__", alter_sys=True)


def fork(connection: socket.socket) -> None:
    """Becomes two processes; the new one ends here."""
    if os.fork():
        return
    become(connection)
    # What the module raises ends this process as Python ends any.
    raise SystemExit(0)


def serve(address: str) -> None:
    """Forks for each request, until standard input ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            ready = select.select([listener, sys.stdin], [], [], 1.0)[0]
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if sys.stdin in ready:
                return
            if listener in ready:
                with listener.accept()[0] as connection:
                    fork(connection)


if __name__ == "__main__":
    load()
    serve(sys.argv[1])
