# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes other Pythons' environments is made once, however many want it at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest

from lab import interpreters, servers


def test_tools_that_two_want_at_once_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    both_want_it, both_make_it = Barrier(2), Barrier(2)

    def install(_requirements: object, folder: Path, *_others: object) -> None:
        made.append(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Where nobody is kept waiting, the other comes here, too.
        with suppress(BrokenBarrierError):
            both_make_it.wait(1)

    def want(_number: int) -> list[str]:
        both_want_it.wait(60)
        return interpreters.pip_for_others(tmp_path / "log")

    monkeypatch.setenv(servers.CACHE_VARIABLE, str(tmp_path / "servers"))
    monkeypatch.setattr(interpreters, "CACHE", tmp_path)
    monkeypatch.setattr(interpreters, "_install", install)
    with ThreadPoolExecutor(max_workers=2) as pool:
        first, second = pool.map(want, range(2))
    assert first == second
    assert made == [tmp_path / "tools"]
