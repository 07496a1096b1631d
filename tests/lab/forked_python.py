# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands for Python where Ansible runs a module: `python FILE`, or what comes on standard input, becomes a fork (see module_forks.py).

This file imports next to nothing: to begin has to take a part of the time that it saves. `lab.compiled` puts the address and the Python in.
"""

import _socket
import os
import sys

ADDRESS, PYTHON = "@ADDRESS@", "@PYTHON@"


def quoted(text: str) -> str:
    """As JSON has it."""
    return (
        '"' + "".join(it if (it.isascii() and it.isalnum()) or it in " /=_.,:-+" else escaped(it) for it in text) + '"'
    )


def escaped(letter: str) -> str:
    """By its number; beyond the first 65536 by two."""
    number = ord(letter)
    if number < 1 << 16:
        return f"\\u{number:04x}"
    number -= 1 << 16
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


def request() -> bytes:
    """What the new process is to be."""
    mask = os.umask(0)
    os.umask(mask)
    environment = ",".join(f"{quoted(name)}:{quoted(value)}" for name, value in os.environ.items())
    words = ",".join(map(quoted, sys.argv[1:] or ["-"]))
    return f'{{"words":[{words}],"environment":{{{environment}}},"folder":{quoted(os.getcwd())},"umask":{mask}}}\n'.encode()


def main() -> None:
    """Asks for it, and ends as it has ended."""
    if sys.argv[1:] and sys.argv[1].startswith("-"):
        os.execv(PYTHON, [PYTHON, *sys.argv[1:]])
    connection = _socket.socket(_socket.AF_UNIX)
    connection.connect(ADDRESS)
    files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    data = request()
    sent = connection.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    while sent < len(data):
        sent += connection.send(data[sent:])
    code = int(connection.recv(16))
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
