# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""As much of an AWX as the modules of awx.awx ask for: objects by kind, found by their fields, with what belongs to each. It runs no job."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lab.errors import NotToBeHadError
from lab.modules import COLLECTIONS
from lab.web import Answer, Asked, WebServer

TOKEN = "the-token-of-a-test"
_PREFIX = "/api/v2/"
# What stands for itself in the answers; everything else that is asked below an object is a list of others.
_SPEC, _APPROVAL = "survey_spec", "create_approval_template"
_TEMPLATES = ("job_templates", "workflow_job_templates", "projects")

Item = dict[str, Any]
Reply = tuple[HTTPStatus, Any]


class Awx(WebServer):
    """Answers on loopback as long as the `with` block lasts.

    Attributes:
        items: The objects, by kind and by id.
        surveys: The survey of an object, by the path of the object.
        belonging: Ids of the objects that belong to another one, by its path and the name of the list.
    """

    def __init__(self, **names: list[str]) -> None:
        """`names`: objects that are there from the beginning, by kind."""
        self.items: dict[str, dict[int, Item]] = {}
        self.surveys: dict[str, Any] = {}
        self.belonging: dict[tuple[str, str], list[int]] = {}
        self._next_id = 0
        for kind, there in names.items():
            for name in there:
                self._make(kind, {"name": name})
        super().__init__(self._answer)

    @property
    def environment(self) -> dict[str, str]:
        """What leads the modules to it."""
        return {"CONTROLLER_HOST": self.url, "CONTROLLER_OAUTH_TOKEN": TOKEN}

    def named(self, kind: str) -> dict[str, Item]:
        """The objects of a kind, by name; nodes of workflows by their identifier."""
        return {it.get("identifier") or it["name"]: it for it in self.items.get(kind, {}).values()}

    def _answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return HTTPStatus.UNAUTHORIZED, b'{"detail": "Who are you?"}'
        parts = urlsplit(asked.path)
        status, answer = self._do(
            asked.method, parts.path, dict(parse_qsl(parts.query)), json.loads(asked.body or "{}")
        )
        return status, b"" if answer is None else json.dumps(answer).encode()

    def _do(self, method: str, path: str, query: dict[str, str], sent: Item) -> Reply:
        """Do what is asked for."""
        kind, *rest = path.removeprefix(_PREFIX).strip("/").split("/")
        if not rest:
            return self._create(kind, sent) if method == "POST" else (HTTPStatus.OK, _listed(self._found(kind, query)))
        item = self.items.get(kind, {}).get(int(rest[0]))
        if item is None:
            return HTTPStatus.NOT_FOUND, {"detail": "Not found."}
        if rest[1:]:
            return self._below(method, item, rest[1], sent)
        if method == "DELETE":
            del self.items[kind][item["id"]]
            return HTTPStatus.NO_CONTENT, None
        item.update(sent)
        return HTTPStatus.OK, item

    def _make(self, kind: str, fields: Item) -> Item:
        self._next_id += 1
        url = f"{_PREFIX}{kind}/{self._next_id}/"
        made = {
            "scm_revision": "",
            **fields,
            "id": self._next_id,
            "type": kind.removesuffix("s"),
            "url": url,
            "related": {_SPEC: f"{url}{_SPEC}/"},
            "summary_fields": {},
        }
        self.items.setdefault(kind, {})[self._next_id] = made
        return made

    def _create(self, kind: str, sent: Item) -> Reply:
        return HTTPStatus.CREATED, self._make(kind, sent)

    def _found(self, kind: str, query: dict[str, str]) -> list[Item]:
        kinds = _TEMPLATES if kind == "unified_job_templates" else (kind,)
        there = [it for each in kinds for it in self.items.get(each, {}).values()]
        return [it for it in there if all(str(it.get(field)) == value for field, value in query.items())]

    def _below(self, method: str, item: Item, name: str, sent: Item) -> Reply:
        url = item["url"]
        if name == _SPEC:
            if method == "POST":
                self.surveys[url] = sent
            return HTTPStatus.OK, self.surveys.get(url, {})
        if name == _APPROVAL:
            made = self._make("workflow_approval_templates", sent)
            item["unified_job_template"] = made["id"]
            return HTTPStatus.CREATED, made
        ids = self.belonging.setdefault((url, name), [])
        if method == "POST":
            ids.append(sent["id"])
            return HTTPStatus.NO_CONTENT, None
        return HTTPStatus.OK, _listed([{"id": each} for each in ids])


def _listed(found: list[Item]) -> Item:
    return {"count": len(found), "next": None, "previous": None, "results": found}


def need_modules() -> None:
    """See that the modules of awx.awx are there.

    Raises:
        NotToBeHadError: They are not.
    """
    if not (COLLECTIONS / "ansible_collections" / "awx" / "awx" / "MANIFEST.json").exists():
        raise NotToBeHadError("the collection awx.awx is not in .cache/collections: make setup")
