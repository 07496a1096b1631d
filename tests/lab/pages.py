# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages that people read, and the commands and examples in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.deployment import Deployment
from lab.modules import CHECKOUT

PAGES = tuple(
    str(page.relative_to(CHECKOUT))
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "roles/*/README.md")
    for page in sorted(CHECKOUT.glob(pattern))
)
SHELL = frozenset({"console", "sh", "shell"})

# Pages that a test of their own runs from the first command to the last, in one shell.
RUN_AS_A_WHOLE = {
    "docs/ad-hoc.md": "tests/integration/ad_hoc/test_one_liners.py",
    "docs/getting-started.md": "tests/integration/pages/test_tutorial.py",
}
# Commands that a test of their own runs, because of what they need: how each begins, and the test.
_FLEET = "ansible-playbook redis_ha.sentinel.fleet -i deployments.yml"
_RESTART = "ansible-playbook redis_ha.sentinel.rolling_maintenance -i inventory -e sentinels=192.0.2.11:26379 -e rolling_maintenance_tasks=restart"
RUN_ELSEWHERE = {
    "make bench BENCH_ARGS='--servers redis-7.0 --load 0 --runs 0": "tests/integration/bench/test_measure.py",
    "make demo": "tests/integration/lab/test_demo.py",
    "make integration": "tests/integration/pages/test_make.py",
    "make lab": "tests/integration/pages/test_tutorial.py",
    'make unit ARGS="-k plan -x"': "tests/integration/pages/test_make.py",
    "PYTHONPATH=tests .cache/venv/bin/python -m bench report": "tests/integration/bench/test_report.py",
    "ansible-playbook awx/setup.yml": "tests/integration/awx/test_setup.py",
    "ansible-playbook redis_ha.sentinel.drill": "tests/integration/roles/test_drill.py",
    "ansible-playbook redis_ha.sentinel.failover -e @window.yml": "tests/integration/roles/test_failover.py",
    f"{_FLEET} --check": "tests/integration/roles/test_fleet.py",
    f"{_FLEET} --forks 10": "tests/integration/roles/test_fleet.py",
    f"{_FLEET} -e fleet_role=precheck": "tests/integration/roles/test_fleet.py",
    f"{_FLEET} -e fleet_role=drain": "tests/integration/roles/test_fleet.py",
    "ansible-playbook redis_ha.sentinel.move_back": "tests/integration/roles/test_rolling.py",
    _RESTART: "tests/integration/roles/test_rolling.py",
    f"{_RESTART} --check": "tests/integration/roles/test_rolling.py",
}
_TYPED = "tests/contract/test_make.py types it, and sees that the program which it reaches understands it"
# What is not run as it stands: how it begins, why, and what runs instead.
NOT_RUN = {
    "make bench": f"takes minutes; {_TYPED}, and tests/integration/bench/test_measure.py measures each way once",
    "make judges": f"is a part of the tests, of which this is one; {_TYPED}",
    "make molecule": f"needs containers; {_TYPED}, and the suite molecule runs the same scenario",
    "make setup": f"has made what the tests run in; {_TYPED}",
    "make test": f"is all tests, of which this is one; {_TYPED}",
    "make unit": f"is a suite of its own; {_TYPED}",
    "ansible-builder build": "makes a container image, which takes minutes and a registry's base image",
    "docker push": "needs a registry",
    "ansible-galaxy collection install awx.awx": (
        "asks Galaxy; tests/integration/awx/test_setup.py runs setup.yml with the modules of that collection"
    ),
    "ansible-playbook redis_ha.sentinel.rolling_maintenance": (
        "brings new packages to the host itself; molecule/rolling_maintenance upgrades hosts of its own, by tasks of its own"
    ),
}


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        page: The page, from the root of the checkout.
        line: The line on which the block begins, from 1.
        language: What the page says it is.
        text: What stands in it.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands, one line each; what is no shell has none."""
        if self.language not in SHELL:
            return ()
        lines = self.text.replace("\\\n", " ").splitlines()
        bare = (re.sub(r"^\$ |\s+# .*$", "", line) for line in lines)
        return tuple(" ".join(line.split()) for line in bare if line.strip())


def blocks() -> Iterator[Block]:
    """Every block of every page, in their order."""
    for page in PAGES:
        text = (CHECKOUT / page).read_text()
        for found in re.finditer(r"^```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def begins_with(command: str, beginning: str) -> bool:
    """Whether a command begins with these words."""
    return f"{command} ".startswith(f"{beginning} ")


def _named(command: str, beginnings: Iterable[str]) -> str | None:
    """The longest of these beginnings that the command has."""
    return max((beginning for beginning in beginnings if begins_with(command, beginning)), key=len, default=None)


def run_elsewhere(command: str) -> str | None:
    """The test that runs a command which needs something of its own; nothing for any other."""
    named = _named(command, RUN_ELSEWHERE)
    return RUN_ELSEWHERE[named] if named else None


def why_not_run(command: str) -> str | None:
    """Why a command is run by no test as it stands; nothing if one runs it."""
    named = _named(command, NOT_RUN)
    return NOT_RUN[named] if named and not run_elsewhere(command) else None


def command_of_a_page(beginning: str) -> str:
    """The one command of the pages that stands in `RUN_ELSEWHERE` under this beginning, on however many pages."""
    (command,) = {it for block in blocks() for it in block.commands if _named(it, RUN_ELSEWHERE) == beginning}
    return command


def with_addresses(deployment: Deployment, text: str) -> str:
    """The text with the addresses of a deployment in place of the pages' own: Sentinels from 192.0.2.11, nodes from 192.0.2.21."""
    names = {f"192.0.2.{11 + index}:26379": it.address for index, it in enumerate(deployment.sentinels)}
    names |= {f"192.0.2.{21 + index}:6379": it.address for index, it in enumerate(deployment.nodes())}
    names |= {f"192.0.2.{21 + index}": it.host for index, it in enumerate(deployment.nodes())}
    for shown, real in names.items():
        text = text.replace(shown, real)
    assert "192.0.2." not in text, text
    return text
