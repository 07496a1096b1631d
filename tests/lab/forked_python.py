# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Python for modules that Ansible runs on this machine, which has loaded what all of them import: `python -m lab.forked_python COMMAND ...`.

Importing redis-py, what Ansible's modules share and the collection takes longer than most modules work. As long as the command runs, the program
whose path is in LAB_PYTHON does what Python would: it hands what it was given to a process that has imported all of it, and a fork of that runs it.
"""

from __future__ import annotations

import array
import atexit
import importlib
import marshal
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from lab.engine import end_with_parent

VARIABLE = "LAB_PYTHON"
MODULES = "ansible_collections.redis_ha.sentinel.plugins.modules"
SERVE = "--serve"
# It imports nothing that has to be looked for.
PROGRAM = """#!{python} -ISE
import _socket, marshal, os, sys
text = marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))
with_server = _socket.socket(_socket.AF_UNIX)
with_server.connect({address!r})
files = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
with_server.sendmsg([len(text).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
with_server.sendall(text)
code = with_server.recv(1)
os._exit(code[0] if code else 1)
"""


def load() -> None:
    """Imports the collection's modules, and so what they import."""
    for found in pkgutil.iter_modules(importlib.import_module(MODULES).__path__):
        importlib.import_module(f"{MODULES}.{found.name}")


def receive(connection: socket.socket) -> tuple[list[str], str, dict[str, str]]:
    """Arguments, folder and environment of a program; its standard files become those of this process."""
    length, messages, _flags, _address = connection.recvmsg(4, socket.CMSG_SPACE(3 * 4))
    files = array.array("i", messages[0][2])
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    left = int.from_bytes(length, "big")
    text = b""
    while len(text) < left:
        text += connection.recv(left - len(text))
    arguments, folder, environment = marshal.loads(text)
    return arguments, folder, environment


def run(arguments: Sequence[str]) -> int:
    """Runs what Python would: a module (-m), a file, or what comes on standard input; the exit code."""
    try:
        if arguments[:1] == ["-m"]:
            sys.argv = ["-m", *arguments[2:]]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        elif arguments:
            sys.argv = list(arguments)
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            sys.argv = [""]
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(sys.stdin.read(), "<stdin>", "exec"), vars(main))
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def become(connection: socket.socket) -> None:
    """In the fork: is the program that was asked for, and ends as Python does, but for what it would tidy up in memory."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        arguments, folder, environment = receive(connection)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        code = run(arguments)
    finally:
        if error := sys.exception():
            traceback.print_exception(error)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([code & 255]))
        os._exit(code & 255)


def serve(listener: socket.socket) -> None:
    """Forks for each program, until it is ended."""
    load()
    # Nobody waits for the forks.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        with listener.accept()[0] as connection:
            if not os.fork():
                listener.close()
                become(connection)


def with_python(command: Sequence[str]) -> int:
    """Runs a command that has such a Python; its exit code."""
    with tempfile.TemporaryDirectory(prefix="python-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        program = Path(folder, "python")
        program.write_text(PROGRAM.format(python=sys.executable, address=f"{folder}/socket"))
        program.chmod(0o700)
        server = subprocess.Popen(
            [sys.executable, "-m", "lab.forked_python", SERVE, str(listener.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            preexec_fn=end_with_parent,
        )
        try:
            return subprocess.run(command, env={**os.environ, VARIABLE: str(program)}, check=False).returncode
        finally:
            server.kill()
            server.wait()


def main(words: Sequence[str]) -> int:
    """Runs a command, or is what the other one starts."""
    if words[0] == SERVE:
        serve(socket.socket(fileno=int(words[1])))
    return with_python(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
