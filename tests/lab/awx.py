# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""As much of an AWX as the modules of awx.awx ask for: objects by kind, found by their fields, with what belongs to each. It runs no job."""

from __future__ import annotations

import http.server
import json
import threading
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from lab.errors import NotToBeHadError
from lab.modules import COLLECTIONS

TOKEN = "the-token-of-a-test"
_PREFIX = "/api/v2/"
# What stands for itself in the answers; everything else that is asked below an object is a list of others.
_SPEC, _APPROVAL = "survey_spec", "create_approval_template"
_TEMPLATES = ("job_templates", "workflow_job_templates", "projects")

Item = dict[str, Any]
Answer = tuple[HTTPStatus, Any]


class Awx:
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
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """What leads the modules to it."""
        return {
            "CONTROLLER_HOST": f"http://127.0.0.1:{self._server.server_port}",
            "CONTROLLER_OAUTH_TOKEN": TOKEN,
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def named(self, kind: str) -> dict[str, Item]:
        """The objects of a kind, by name; nodes of workflows by their identifier."""
        return {it.get("identifier") or it["name"]: it for it in self.items.get(kind, {}).values()}

    def answer(self, method: str, path: str, query: dict[str, str], sent: Item) -> Answer:
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

    def _create(self, kind: str, sent: Item) -> Answer:
        return HTTPStatus.CREATED, self._make(kind, sent)

    def _found(self, kind: str, query: dict[str, str]) -> list[Item]:
        kinds = _TEMPLATES if kind == "unified_job_templates" else (kind,)
        there = [it for each in kinds for it in self.items.get(each, {}).values()]
        return [it for it in there if all(str(it.get(field)) == value for field, value in query.items())]

    def _below(self, method: str, item: Item, name: str, sent: Item) -> Answer:
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


def _handler(awx: Awx) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def _do(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
            asked = urlsplit(self.path)
            if self.headers["Authorization"] == f"Bearer {TOKEN}":
                status, answer = awx.answer(self.command, asked.path, dict(parse_qsl(asked.query)), sent)
            else:
                status, answer = HTTPStatus.UNAUTHORIZED, {"detail": "Who are you?"}
            body = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def do_PATCH(self) -> None:
            self._do()

        def do_DELETE(self) -> None:
            self._do()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def need_modules() -> None:
    """See that the modules of awx.awx are there.

    Raises:
        NotToBeHadError: They are not.
    """
    if not (COLLECTIONS / "ansible_collections" / "awx" / "awx" / "MANIFEST.json").exists():
        raise NotToBeHadError("the collection awx.awx is not in .cache/collections: make setup")
