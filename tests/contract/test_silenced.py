# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of judges are followed. Where one is silenced it is for a reason that stands there, and no more are than were."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.tracked import tracked_files

ROOT = Path(__file__).resolve().parents[2]
MOST = 9
"""As many as there are. One that is to be added takes the place of another."""
# Put together, so that this line is none of them.
COMMENT = re.compile("# *(?:no" + "qa|type: ig" + "nore|shellcheck dis" + "able|pragma: no" + " cover)")
SWITCH = re.compile(r"""--(?:skip|ignore|exclude|disable(?!-pip-version))[a-z-]*|\brun_\w+ = false""")
"""What leaves a rule out where a tool of ours calls a judge."""
MYPY_DEMANDS = frozenset(
    {
        *("strict", "warn_unreachable", "enable_error_code", "follow_untyped_imports"),
        *("python_version", "mypy_path", "namespace_packages", "explicit_package_bases", "cache_dir", "module"),
    }
)
"""Settings of mypy that make it see more, or say where things are. Any other may silence it."""
LINT_DEMANDS = frozenset({"profile", "offline"})
"""The same of ansible-lint."""


@dataclass(frozen=True)
class Silenced:
    """A rule that is not followed, or not everywhere."""

    where: str
    has_reason: bool


def lines() -> Iterator[tuple[str, str, str]]:
    """Every line of code that is ours: the file, the line before it, and the line."""
    for path in tracked_files(ROOT, "*.py", "*.sh", "*.yml"):
        name = path.relative_to(ROOT)
        if not any(part.startswith(".") for part in name.parts):
            before = ""
            for line in path.read_text().splitlines():
                yield str(name), before, line
                before = line


def in_code() -> Iterator[Silenced]:
    for file, before, line in lines():
        if COMMENT.search(line):
            has_reason = " - " in line.partition("# no" + "qa")[2] or before.strip().startswith("# ")
            yield Silenced(f"{file}: {line.strip()}", has_reason)


def in_commands() -> Iterator[Silenced]:
    """Where our tools call judges."""
    for file, before, line in lines():
        if file.startswith("tests/tools/"):
            for switch in SWITCH.findall(line):
                yield Silenced(f"{file}: {switch}", before.strip().startswith("# "))


def in_mypy(settings: Mapping[str, Any]) -> Iterator[str]:
    """Each setting of a table that may silence it counts, however many modules it is for."""
    for table in (settings, *settings.get("overrides", ())):
        yield from (f"{name} = {value}" for name, value in table.items() if name not in {*MYPY_DEMANDS, "overrides"})


def in_pyproject(text: str) -> Iterator[Silenced]:
    """A blank line ends a paragraph, in which the reason stands."""
    for paragraph in re.split(r"\n{2,}", text):
        tools = tomllib.loads(paragraph).get("tool", {})
        ruff = tools.get("ruff", {}).get("lint", {})
        rules = [
            *ruff.get("ignore", ()),
            *(rule for some in ruff.get("per-file-ignores", {}).values() for rule in some),
        ]
        filters = [
            rule for rule in tools.get("pytest", {}).get("ini_options", {}).get("filterwarnings", ()) if rule != "error"
        ]
        for what in (*rules, *filters, *in_mypy(tools.get("mypy", {}))):
            yield Silenced(f"pyproject.toml: {what}", bool(re.search(r"^# ", paragraph, re.MULTILINE)))


def in_lint(text: str) -> Iterator[Silenced]:
    """Each entry of a list counts, and says why on its line."""
    reasons = {line.partition(" # ")[0].strip(" -") for line in text.splitlines() if " # " in line}
    for name, value in yaml.safe_load(text).items():
        if name not in LINT_DEMANDS:
            for entry in value if isinstance(value, list) else [f"{name}: {value}"]:
                yield Silenced(f".ansible-lint: {entry}", entry in reasons)


def silenced() -> list[Silenced]:
    settings, lint = ((ROOT / name).read_text() for name in ("pyproject.toml", ".ansible-lint"))
    return [*in_code(), *in_commands(), *in_pyproject(settings), *in_lint(lint)]


def test_no_further_rule_is_silenced() -> None:
    found = silenced()
    assert len(found) <= MOST, "\n".join(one.where for one in found)


def test_each_has_its_reason_beside_it() -> None:
    assert [one.where for one in silenced() if not one.has_reason] == []


def test_nothing_is_ignored_by_ansible_test() -> None:
    assert not list((ROOT / "tests").glob("sanity/ignore*"))


@pytest.mark.parametrize(
    ("paragraph", "count"),
    [
        pytest.param("[tool.mypy]\nstrict = true", 0, id="what demands more"),
        pytest.param("[tool.mypy]\nstrict = true\ndisallow_any_generics = false", 1, id="what demands less"),
        pytest.param(
            '[[tool.mypy.overrides]]\nmodule = ["a.*", "b"]\nignore_missing_imports = true', 1, id="for modules"
        ),
        pytest.param('[tool.ruff.lint]\nignore = ["E501", "N818"]', 2, id="rules"),
        pytest.param(
            '[tool.ruff.lint.per-file-ignores]\n"tests/**" = ["T20"]\n"plugins/**" = ["E402"]', 2, id="for files"
        ),
        pytest.param('[tool.pytest.ini_options]\nfilterwarnings = ["error", "ignore:old"]', 1, id="a warning"),
    ],
)
def test_what_silences_is_counted_and_wants_a_reason(paragraph: str, count: int) -> None:
    first, *more = paragraph.splitlines()
    with_reason = "\n".join([first, "# Why.", *more])
    assert [one.has_reason for one in in_pyproject(paragraph)] == [False] * count
    assert [one.has_reason for one in in_pyproject(with_reason)] == [True] * count
    # The settings that are there stand apart from it.
    assert len(list(in_pyproject(f"[tool.black]\nline = 1\n\n{paragraph}"))) == count


def test_what_ansible_lint_leaves_out_is_counted_entry_by_entry() -> None:
    text = "---\nprofile: production\nexclude_paths:\n  - a/ # Why.\n  - b/\nmock_modules:\n  - c.d.e\n"
    assert [one.has_reason for one in in_lint(text)] == [True, False, False]
