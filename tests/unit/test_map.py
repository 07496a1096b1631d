# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The map of the code in CONTRIBUTING.md names the files that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def test_the_table_names_every_file_of_module_utils_once_and_no_other() -> None:
    named = re.findall(r"^\| `(_\w+\.py)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in (ROOT / "plugins/module_utils").glob("*.py"))


def test_no_two_files_have_one_reason_to_change() -> None:
    reasons = re.findall(r"^\| `_\w+\.py` \| \w+ \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(reasons) == len(set(reasons)) == len(list((ROOT / "plugins/module_utils").glob("*.py")))


def test_what_proves_a_promise_is_there() -> None:
    section = PAGE.split("## Which promise is proved where", 1)[1].split("\n## ", 1)[0]
    named = re.findall(r"`((?:tests|molecule)/[\w/.]+)`", section)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
