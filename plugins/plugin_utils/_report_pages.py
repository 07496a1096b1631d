# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renders the report: one HTML page that needs nothing else, and one Markdown page.

Nothing that comes from a result can be forgotten when it comes to escaping: in HTML Jinja2 escapes by itself, in Markdown
every expression goes through `escape_markdown` unless a filter has already made it safe. Pure, but for reading the templates.
This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import STEP_BEGINS
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import STATES, Lane, Trace, trace
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_messages import (
    NOTE,
    REPLY,
    Conversation,
    Course,
    converse,
    course,
    draw_conversation,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_picture import NARROW, WIDE, draw, moment
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import PLANNED, Entry, Run
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_words import count, duration, in_words

TEMPLATES = Path(__file__).resolve().parents[2] / "roles" / "report" / "templates"
COLLECTION = "redis_ha.sentinel"


@dataclass(frozen=True)
class Pages:
    """A report."""

    headline: str
    html: str
    markdown: str


class Safe(str):
    """Markdown that is to stand as it is."""


def render(run: Run, title: str = "", made_at: str = "") -> Pages:
    """Make both pages.

    Args:
        run: What is known of the run.
        title: The title; one is made up where it is empty.
        made_at: When the report was made, for a person.
    """
    traced = trace(run)
    words = in_words(run, traced)
    conversation = converse(run, traced) if traced else None
    context: dict[str, Any] = {
        "run": run,
        "words": words,
        "title": title or f"Failover of {run.master_name or 'a master'}",
        "made_at": made_at,
        "trace": traced,
        "pictures": [draw(traced, measures) for measures in (WIDE, NARROW)] if traced else [],
        "conversation": conversation,
        "diagram": draw_conversation(conversation) if conversation and conversation.messages else None,
        "course": course(run, traced) if traced else None,
        "planned": run.outcome == PLANNED,
    }
    return fill("report", words.headline, context)


def fill(template: str, headline: str, context: dict[str, Any]) -> Pages:
    """Fill both templates of a name: `report`, `drill` or `fleet`."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    whole = {
        **context,
        "style": style,
        "style_hash": base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        "collection": COLLECTION,
    }
    return Pages(
        headline=headline,
        html=_html().get_template(f"{template}.html.j2").render(whole),
        markdown=_markdown().get_template(f"{template}.md.j2").render(whole),
    )


# ---- HTML ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _html() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(str(TEMPLATES)),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(px=_px, duration=duration, count=count, what_happened=what_happened)
    return environment


def _px(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


# ---- Markdown --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _markdown() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=False,  # that is for HTML; finalize escapes here
        finalize=lambda value: value if isinstance(value, Safe) else escape_markdown(value),
        loader=jinja2.FileSystemLoader(str(TEMPLATES)),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        code=code,
        block=block,
        duration=duration,
        lane_in_words=lane_in_words,
        moments=moments,
        event_lines=event_lines,
        mermaid_sequence=mermaid_sequence,
        mermaid_states=mermaid_states,
        count=count,
    )
    return environment


_MARKS = re.compile(r"([\\`*\[\]#~|$]|(?<![^\W_])_|_(?![^\W_]))")
"""What means something to Markdown; not an underscore within a word, which means nothing there."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def escape_markdown(value: object) -> str:
    """Text that Markdown leaves alone, in a paragraph, a list or a cell of a table: no markup, no HTML, no link, no mention."""
    if value is None:
        return ""
    text = re.sub("[&<>@]", lambda found: _ENTITIES[found[0]], _MARKS.sub(r"\\\1", str(value)))
    text = re.sub(r"://", ":&#47;/", text)
    text = re.sub(r"(?i)\bwww\.", lambda found: f"{found[0][:3]}&#46;", text)
    # At the beginning of a line these would begin a list or a rule.
    return re.sub(r"^(\s*)([-+=]|\d+(?=[.)](?:\s|$)))", lambda found: f"{found[1]}{_defused(found[2])}", text)


def _defused(mark: str) -> str:
    return f"&#{ord(mark[0])};{mark[1:]}"


def code(value: object) -> Safe:
    """Text as code, within a line or a cell of a table; nothing, where it is empty."""
    text = str(value).replace("|", "¦").strip()
    if not text:
        return Safe("")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return Safe(f"{fence}{pad}{text}{pad}{fence}")


def block(value: str, language: str = "") -> Safe:
    """Lines as a block of code."""
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", value)), default=0) + 1)
    return Safe(f"{fence}{language}\n{value.rstrip()}\n{fence}")


def what_happened(it: Entry) -> str:
    """The kind of an entry, for a person; of a Sentinel the name of its event."""
    if it.sentinel:
        return it.kind
    return f"step {it.step.replace('_', ' ')}" if it.kind == STEP_BEGINS else it.kind.replace("_", " ")


def event_lines(timeline: tuple[Entry, ...]) -> Safe:
    """The timeline as a block of code, a line an event."""
    lines = [
        "  ".join(
            filter(
                None,
                (
                    f"{it.at_ms:10.1f} ms",
                    f"Sentinel {it.sentinel}" if it.sentinel else "this run",
                    what_happened(it),
                    "" if it.sentinel else it.subject,
                    it.detail,
                ),
            )
        )
        for it in timeline
    ]
    return block("\n".join(lines), "text")


def lane_in_words(lane: Lane, traced: Trace) -> str:
    """What a server was, one state after the other."""
    parts = []
    for number, segment in enumerate(lane.segments):
        since = f"{moment(segment.start_ms - traced.zero_ms)}: " if number else ""
        parts.append(f"{since}{STATES[segment.state][0]}")
    return " → ".join(parts)


def moments(traced: Trace) -> str:
    """Every moment that has a name."""
    return ", ".join(f"{mark.label} {moment(mark.at_ms - traced.zero_ms)}" for mark in traced.marks)


_PLAIN = re.compile(r"[^A-Za-z0-9 .,:/()+\u2026\u2192\u2212-]")


def _mermaid_text(value: str) -> str:
    """Text that Mermaid leaves alone: whatever could mean something to it goes by its number."""
    text = _PLAIN.sub(lambda found: f"#{ord(found[0])};", value)
    # A word that Mermaid knows, alone, is no longer that word.
    return re.sub(r"(?i)\b(end)\b", lambda found: f"#{ord(found[0][0])};{found[0][1:]}", text) or "-"


def mermaid_sequence(conversation: Conversation) -> Safe:
    """The conversation as a Mermaid sequence diagram, in a block of code."""
    numbers = {it.key: f"p{number}" for number, it in enumerate(conversation.participants)}
    lines = ["sequenceDiagram"]
    for it in conversation.participants:
        called = _mermaid_text(it.role) + (f"<br/>{_mermaid_text(it.name)}" if it.name else "")
        lines.append(f"    participant {numbers[it.key]} as {called}")
    for message in conversation.messages:
        text = f"{_mermaid_text(conversation.when(message))}: {_mermaid_text(message.full_text)}"
        source, target = numbers[message.source], numbers[message.target]
        if message.kind == NOTE:
            lines.append(f"    Note over {source}: {text}")
        else:
            arrow = "-->>" if message.kind == REPLY else "->>"
            lines.append(f"    {source}{arrow}{target}: {text}")
    return block("\n".join(lines), "mermaid")


def mermaid_states(gone: Course) -> Safe:
    """The course of the deployment as a Mermaid state diagram, in a block of code."""
    lines = ["stateDiagram-v2"]
    for state in gone.outer_states:
        lines.append(f'    state "{_mermaid_text(f"{state.title}: {state.detail}")}" as {state.key}')
    lines.append("    state Promoting {")
    for state in gone.inner_states:
        lines.append(f'        state "{_mermaid_text(f"{state.title}: {state.detail}")}" as {state.key}')
    lines.append(f"        [*] --> {gone.inner_states[0].key}")
    lines += [f"        {_mermaid_step(step.source, step.target, step.text)}" for step in gone.inner_steps]
    lines += ["    }", "    [*] --> Ready"]
    inner = set(gone.inner_steps)
    lines += [f"    {_mermaid_step(step.source, step.target, step.text)}" for step in gone.steps if step not in inner]
    return block("\n".join(lines), "mermaid")


def _mermaid_step(source: str, target: str, text: str) -> str:
    return f"{source} --> {target}" + (f": {_mermaid_text(text)}" if text else "")
