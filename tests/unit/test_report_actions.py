# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tasks that write reports: which files, what they return, and what they say where they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.redis_ha.sentinel.plugins.action.write_fleet_report import ActionModule as WriteFleetReport
from ansible_collections.redis_ha.sentinel.plugins.action.write_report import ActionModule as WriteReport
from unit.actions import Started
from unit.report_runs import SWITCHED


def report(folder: Path, **args: Any) -> Started:
    return Started(
        WriteReport,
        {
            "result": SWITCHED,
            "master_name": "orders",
            "directory": str(folder),
            "formats": ["html", "markdown"],
            **args,
        },
    )


def test_each_format_is_a_file_and_the_deployment_is_not_changed(tmp_path: Path) -> None:
    result = report(tmp_path / "reports", name="CHG0004711").run()
    assert result["files"] == {
        "html": str(tmp_path / "reports/CHG0004711.html"),
        "markdown": str(tmp_path / "reports/CHG0004711.md"),
    }
    assert result["changed"] is False
    assert result["headline"] in Path(result["files"]["markdown"]).read_text()
    assert Path(result["files"]["html"]).read_text().startswith("<!DOCTYPE html>")


def test_without_a_name_it_is_called_by_the_master_and_the_time(tmp_path: Path) -> None:
    (path,) = report(tmp_path, formats=["markdown"]).run()["files"].values()
    assert Path(path).name.startswith("orders-20")
    assert [file.name for file in tmp_path.iterdir()] == [Path(path).name]


def test_who_ran_it_and_as_which_job_stands_in_it(tmp_path: Path) -> None:
    result = report(tmp_path, formats=["markdown"], title="Monthly move", operator="ada", job="AWX job 7").run()
    text = Path(result["files"]["markdown"]).read_text()
    assert all(words in text for words in ("Monthly move", "ada", "AWX job 7", "orders"))


def test_a_folder_that_cannot_be_written_is_named_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnsibleActionFail, match=r"cannot be written to .*file.*: Not a directory.*report_directory"):
        report(tmp_path / "file" / "reports").run()


@pytest.mark.parametrize(
    ("args", "said"),
    [({"formats": ["pdf"]}, "pdf"), ({"resutl": {}}, "resutl"), ({"result": None}, "result")],
    ids=["format", "name", "result"],
)
def test_options_are_held_against_their_specs(tmp_path: Path, args: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleActionFail, match=said):
        report(tmp_path, **args).run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("verbosity", "whole"), [(2, False), (3, True)])
def test_the_result_fills_the_terminal_only_where_all_is_wanted(tmp_path: Path, verbosity: int, whole: bool) -> None:
    started = Started(
        WriteReport, {"result": SWITCHED, "directory": str(tmp_path), "formats": ["html"]}, verbosity=verbosity
    )
    assert started.run().get("_ansible_verbose_override", False) is not whole


def test_a_fleet_has_one_report_that_says_what_has_not_begun(tmp_path: Path) -> None:
    started = Started(
        WriteFleetReport,
        {"entries": [], "expected": ["shop", "cart"], "directory": str(tmp_path), "formats": ["markdown"]},
    )
    result = started.run()
    (path,) = result["files"].values()
    assert Path(path).name.startswith("fleet-20")
    assert result["done"] is False
    assert all(any(name in line for line in result["lines"]) for name in ("shop", "cart"))
    assert result["headline"] in Path(path).read_text()
