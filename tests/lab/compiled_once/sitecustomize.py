# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lets many runs of Ansible compile each text once: Python loads this file at its start where this folder is in PYTHONPATH (see lab.compiled).

Ansible begins a process for each task and another for each module. Each of them compiles anew the files of the collection, the templates, and the
files of the module, which it has as text in an archive. This takes most of the time of a short run, and comes to the same each time. Here what
comes of it is kept in the folder LAB_COMPILED, under a name made of all that it depends on. What is run, and by which process, stays the same.
"""

from __future__ import annotations

import builtins
import marshal
import os
import sys
import zipimport
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

FOLDER = os.environ.get("LAB_COMPILED", "")
JINJA_SETTINGS = (
    *("block_start_string", "block_end_string", "variable_start_string", "variable_end_string"),
    *("comment_start_string", "comment_end_string", "line_statement_prefix", "line_comment_prefix"),
    *("trim_blocks", "lstrip_blocks", "newline_sequence", "keep_trailing_newline"),
    *("optimized", "autoescape", "finalize", "sandboxed", "is_async"),
)
"""The properties of an environment of Jinja that its code depends on."""


def path_of(*parts: object) -> str:
    """The file for what depends on these."""
    # As Python itself tells whether a file has changed.
    import _imp

    text = repr((sys.hexversion, sys.flags.optimize, parts)).encode(errors="surrogatepass")
    return f"{FOLDER}/{_imp.source_hash(0, text).hex()}-{len(text)}"


def kept(path: str) -> Any:
    """What was kept there, if anything."""
    try:
        with open(path, "rb") as file:
            return marshal.load(file)
    except FileNotFoundError:
        return None


def keep(path: str, what: Any) -> None:
    """Keep it; others may read it and keep it at the same time."""
    private = f"{path}.{os.getpid()}"
    with open(private, "wb") as file:
        marshal.dump(what, file)
    os.replace(private, path)


def compile_file(source: Any, filename: Any, mode: str, flags: int = 0, dont_inherit: bool = False) -> Any:
    """Is `compile` for those that compile whole files."""
    path = path_of(source, mode, flags)
    code = kept(path)
    if code is None:
        code = builtins.compile(source, filename, mode, flags, dont_inherit)
        keep(path, code)
        return code
    # The archive of a module is another each time.
    _imp: Any = sys.modules["_imp"]
    _imp._fix_co_filename(code, str(filename))
    return code


def for_files(module: ModuleType) -> None:
    """In this module, files are compiled once."""
    vars(module)["compile"] = compile_file


def for_collections(module: ModuleType) -> None:
    """The files of collections are compiled once, and the list of what Ansible has moved to which collection is read once."""
    for_files(module)
    read: Callable[[Any, Any], dict[str, Any]] = module._meta_yml_to_dict

    def read_once(text: Any, content_id: Any) -> dict[str, Any]:
        path = path_of("meta", text)
        found: dict[str, Any] | None = kept(path)
        if found is None:
            found = read(text, content_id)
            keep(path, found)
        return found

    vars(module)["_meta_yml_to_dict"] = read_once


def for_templates(module: ModuleType) -> None:
    """Templates and conditions are compiled once."""
    environment: Any = module.Environment
    compile_template, compile_expression = environment.compile, environment.compile_expression
    expressions: list[str] = []

    def path_in(self: Any, *parts: object) -> str:
        settings = [getattr(self, name) for name in JINJA_SETTINGS]
        named = [getattr(value, "__qualname__", value) for value in settings]
        bits = sys.modules.get("ansible._internal._templating._jinja_bits")
        context = bits and bits._TemplateCompileContext.current(optional=True)
        return path_of(
            type(self).__qualname__,
            named,
            sorted(self.extensions),
            bool(context and context.escape_backslashes),
            *parts,
        )

    def compile_once(
        self: Any, source: Any, name: Any = None, filename: Any = None, raw: bool = False, defer_init: bool = False
    ) -> Any:
        if isinstance(source, str) and not raw and not defer_init:
            path = path_in(self, str(source), name, filename)
        else:
            path = expressions.pop() if expressions else ""
        code = kept(path) if path else None
        if code is None:
            code = compile_template(self, source, name, filename, raw, defer_init)
            if path:
                keep(path, code)
        return code

    def compile_expression_once(self: Any, source: str, undefined_to_none: bool = True) -> Any:
        path = path_in(self, "expression", str(source))
        code = kept(path)
        if code is None:
            expressions[:] = [path]
            try:
                return compile_expression(self, source, undefined_to_none)
            finally:
                expressions.clear()
        template = self.template_class.from_code(self, code, self.make_globals(None), None)
        return module.TemplateExpression(template, undefined_to_none)

    environment.compile, environment.compile_expression = compile_once, compile_expression_once


def for_modules(module: ModuleType) -> None:
    """The archive of a module is made once, and modules run with the Python that was asked for."""
    sys.executable = os.environ.get("LAB_PYTHON", sys.executable)
    local: str = module.DEFAULT_LOCAL_TMP
    # Where Ansible locks it by a file, others may use it at the same time.
    if os.path.exists(f"{os.path.dirname(str(module.__file__))}/_internal/_locking.py"):
        os.makedirs(f"{FOLDER}/archives", exist_ok=True)
        os.symlink(f"{FOLDER}/archives", f"{local}/ansiballz_cache")


CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "ansible.constants": for_modules,
    "ansible.utils.collection_loader._collection_finder": for_collections,
    "jinja2.environment": for_templates,
}


class Changed:
    """Finds the modules that are changed once they are loaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """As Python asks each finder."""
        change = CHANGES.get(name)
        spec = change and PathFinder.find_spec(name, path, target)
        if not change or not spec or not spec.loader:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            change(module)

        vars(spec.loader)["exec_module"] = load_and_change
        return spec


if FOLDER:
    for_files(zipimport)
    sys.meta_path.insert(0, Changed)
