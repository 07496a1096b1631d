# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lets many runs of Ansible compile each text once; compiled_once/sitecustomize.py says how, and what stays the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_HOOK = Path(__file__).with_name("compiled_once")
_folder: Path | None = None
BESIDE = f"""
if os.environ.get("LAB_COMPILED"):
    with open({str(_HOOK / "sitecustomize.py")!r}) as hook:
        exec(compile(hook.read(), hook.name, "exec"), {{"__name__": "sitecustomize"}})
"""
"""For a `sitecustomize.py` of one's own, which takes the place of ours: it does what ours does, too. It needs `import os`."""


def environment(folder: Path) -> dict[str, str]:
    """What the environment of a run has that keeps compiled code in a folder, or finds it there."""
    return {"LAB_COMPILED": str(folder), "PYTHONPATH": str(_HOOK)}


def beside(inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
    """An environment that keeps what it has, for programs that compile each text once."""
    added = environment(folder)
    path = os.pathsep.join(filter(None, (added["PYTHONPATH"], inherited.get("PYTHONPATH"))))
    return {**inherited, **added, "PYTHONPATH": path}


@contextmanager
def once(folder: Path) -> Iterator[None]:
    """As long as this lasts, runs of a `Workspace` compile each text once."""
    global _folder
    _folder = folder
    try:
        yield
    finally:
        _folder = None


def in_use() -> dict[str, str]:
    """What the environment of a run has now."""
    return environment(_folder) if _folder else {}
