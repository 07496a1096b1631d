# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""No remedy leads to a loss: advice that can do harm is given only together with the condition under which it does none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}

DANGEROUS = {
    # What a node holds that the master lacks is thrown away once it follows.
    r"\bREPLICAOF\b(?! NO ONE)": r"only it has|is lost|empty",
    r"[Ss]entinel (itself )?(demotes|makes (it|those) a? ?replica)": r"lost|thrown away|holds no data|empties|only it has|leaves the old master writable",
    # The old master takes writes meanwhile that are thrown away.
    r"strategy=plain|SENTINEL FAILOVER alone": r"accept|throw away|lost|leaves the old master writable",
    # It forgets what is not attached at that moment, and leads nothing to its end.
    r"SENTINEL RESET": r"never during a failover|no failover is going on",
    # Who asks for that name finds no master any more.
    r"SENTINEL REMOVE": r"applications|which of these nodes is the master|at the address of the others",
    r"FAILOVER ABORT": r"Wait for it to end|wait",
    r"replica-read-only no\b(?!: )": r"says replica-read-only no|has replica-read-only no",
    r"\b(FLUSHALL|FLUSHDB|SHUTDOWN|DEBUG)\b": r"never",
}
"""For each kind of advice, by what it is told: what has to stand in the same text."""


def skipped(tree: ast.AST) -> set[int]:
    """Documentation, and the parts of a text that is put together."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            found |= {id(it.value) for it in node.body if isinstance(it, ast.Expr)}
        elif isinstance(node, ast.Assign):
            named = {target.id for target in node.targets if isinstance(target, ast.Name)}
            found |= {id(node.value)} if named & DOCUMENTATION else set()
        elif isinstance(node, ast.JoinedStr):
            found |= {id(part) for part in node.values}
    return found


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module that is neither documentation nor a part of another text."""
    tree = ast.parse(path.read_text())
    left_out = skipped(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(it.value) if isinstance(it, ast.Constant) else "{}" for it in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


SENTENCES = [
    pytest.param(text, id=f"{path.relative_to(PLUGINS)}:{line}")
    for path in sorted(PLUGINS.rglob("*.py"))
    for line, text in texts(path)
    # A remedy is a sentence, or several.
    if re.search(r"[.,]$|alone leaves", text.strip())
    and " " in text.strip()
    and any(re.search(advice, text) for advice in DANGEROUS)
]


def test_the_remedies_are_read() -> None:
    assert len(SENTENCES) > 10


@pytest.mark.parametrize("text", SENTENCES)
def test_dangerous_advice_stands_with_its_condition(text: str) -> None:
    for advice, condition in DANGEROUS.items():
        if re.search(advice, text):
            assert re.search(condition, text), f"{advice} without {condition}: {text}"


@pytest.mark.parametrize("advice", DANGEROUS)
def test_every_rule_can_fail(advice: str) -> None:
    told = {
        "SENTINEL RESET": "SENTINEL RESET on every Sentinel.",
        "SENTINEL REMOVE": "SENTINEL REMOVE it.",
        "FAILOVER ABORT": "FAILOVER ABORT on it.",
    }
    candidates = [
        "Attach it: REPLICAOF the master.",
        "Sentinel demotes it within 20 s: look again.",
        "Ask for strategy=plain.",
        "CONFIG SET replica-read-only no on it.",
        "FLUSHALL on it.",
        *told.values(),
    ]
    assert any(re.search(advice, text) and not re.search(DANGEROUS[advice], text) for text in candidates)
