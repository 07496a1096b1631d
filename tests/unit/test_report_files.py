# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the files of a report are called, and that nobody reads half of one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_files import LONGEST_NAME, file_name, write

MADE_AT = datetime(2026, 11, 27, 3, 15, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wanted", "master_name", "name"),
    [
        ("CHG0004711", "orders", "CHG0004711"),
        ("", "orders", "orders-20261127T031509Z"),
        ("", "", "master-20261127T031509Z"),
        ("../../etc/passwd", "orders", "etc_passwd"),
        ("..", "orders", "report"),
        ("日本", "orders", "report"),
        ("a b\nc", "orders", "a_b_c"),
        ("x" * 500, "orders", "x" * LONGEST_NAME),
    ],
)
def test_a_name_stays_in_its_folder(wanted: str, master_name: str, name: str) -> None:
    assert file_name(wanted, master_name, MADE_AT) == name


def test_each_format_is_a_file_of_its_own_that_everybody_may_read(tmp_path: Path) -> None:
    files = write(tmp_path / "made" / "here", "run", {"html": "<p>ä</p>", "markdown": "ä"})
    assert files == {"html": str(tmp_path / "made/here/run.html"), "markdown": str(tmp_path / "made/here/run.md")}
    assert Path(files["html"]).read_text(encoding="utf-8") == "<p>ä</p>"
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "made" / "here").iterdir()} == {"0o644"}


def test_a_file_that_was_there_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, "run", {"html": "first"})
    with (tmp_path / "run.html").open() as begun:
        write(tmp_path, "run", {"html": "second"})
        assert begun.read() == "first"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["second"]


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "run.html").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(tmp_path, "run", {"html": "text"})
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]
