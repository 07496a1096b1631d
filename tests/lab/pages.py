# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages that people read, and the commands and examples in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
# Commands that a test of their own runs, because of what they need. The beginning of the command, and the test.
RUN_ELSEWHERE = {
    "make demo": "tests/integration/lab/test_demo.py",
    "make lab": "tests/integration/pages/test_tutorial.py",
    "PYTHONPATH=tests .cache/venv/bin/python -m bench report": "tests/integration/bench/test_report.py",
    "ansible-playbook redis_ha.sentinel.drill": "tests/integration/roles/test_drill.py",
    "ansible-playbook redis_ha.sentinel.failover -e @window.yml": "tests/integration/roles/test_failover.py",
    "ansible-playbook redis_ha.sentinel.fleet -i deployments.yml --check": "tests/integration/roles/test_fleet.py",
    "ansible-playbook redis_ha.sentinel.fleet -i deployments.yml --forks 10": "tests/integration/roles/test_fleet.py",
    "ansible-playbook redis_ha.sentinel.fleet -i deployments.yml -e fleet_role=precheck": "tests/integration/roles/test_fleet.py",
    "ansible-playbook redis_ha.sentinel.move_back": "tests/integration/roles/test_rolling.py",
}
# What is not run as it stands: the beginning of the command, why, and what runs instead. The longest beginning counts.
NOT_RUN = {
    "make": "sets a machine up, or takes minutes; tests/contract/test_make.py types it, and sees that the program which it reaches understands it",
    "ansible-playbook awx/setup.yml": "needs an AWX; tests/contract/test_roles.py holds it against the modules of awx.awx",
    "ansible-playbook redis_ha.sentinel.rolling_maintenance": (
        "works on services of the host itself; molecule/rolling_maintenance restarts them on hosts of its own, and upgrades them by tasks of its own"
    ),
    "ansible-playbook redis_ha.sentinel.fleet": "names hosts of the reader; tests/integration/roles/test_fleet.py drains one of its own",
}
RUN_IN_CHECK_MODE = "ansible-playbook redis_ha.sentinel.rolling_maintenance"


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


def run_elsewhere(command: str) -> str | None:
    """The test that runs a command which needs something of its own; nothing for any other."""
    return next((test for beginning, test in RUN_ELSEWHERE.items() if begins_with(command, beginning)), None)


def why_not_run(command: str) -> str | None:
    """Why a command is run by no test as it stands; nothing if one runs it."""
    # In check mode nothing is done to a host.
    in_check_mode = command.startswith(RUN_IN_CHECK_MODE) and command.endswith("--check")
    if in_check_mode or run_elsewhere(command):
        return None
    beginnings = [beginning for beginning in NOT_RUN if begins_with(command, beginning)]
    return NOT_RUN[max(beginnings, key=len)] if beginnings else None


def command_of_a_page(beginning: str) -> str:
    """The command of the pages that begins with these words; it stands on one page only."""
    (command,) = {command for block in blocks() for command in block.commands if begins_with(command, beginning)}
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
