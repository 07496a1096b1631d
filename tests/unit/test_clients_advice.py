# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page on client libraries tells readers of redis-py to copy does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import redis

PAGE = Path(__file__).resolve().parents[1] / "bench" / "clients_advice.md"


def advised() -> dict[str, Any]:
    section = PAGE.read_text().partition("## redis-py\n")[2]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block
    names: dict[str, Any] = {"sentinels": [("127.0.0.1", 1)]}
    exec(block[1], names)
    return names


class Write:
    """Is refused some times, then done."""

    def __init__(self, refused: list[Exception]) -> None:
        self.refused = refused

    def __call__(self) -> str:
        if self.refused:
            raise self.refused.pop()
        return "done"


@pytest.mark.parametrize("refusal", [redis.ReadOnlyError("READONLY"), redis.ConnectionError("is now a slave")])
def test_a_refused_write_is_sent_again(refusal: Exception) -> None:
    assert advised()["again"](Write([refusal, refusal]), pause_s=0) == "done"


def test_the_error_is_told_in_the_end() -> None:
    write = Write([redis.ReadOnlyError("READONLY") for _attempt in range(5)])
    with pytest.raises(redis.ReadOnlyError):
        advised()["again"](write, attempts=3, pause_s=0)
    assert len(write.refused) == 2


def test_another_error_is_told_at_once() -> None:
    write = Write([redis.ResponseError("WRONGTYPE"), redis.ResponseError("WRONGTYPE")])
    with pytest.raises(redis.ResponseError):
        advised()["again"](write, pause_s=0)
    assert len(write.refused) == 1


def test_the_library_itself_tries_only_once() -> None:
    assert advised()["master"].get_retry().get_retries() == 0
