# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds what a module returns against what its RETURN says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (float, int),
    "int": (int,),
    "list": (list,),
    "str": (str,),
}


def mismatches(values: Mapping[str, Any], documented: Mapping[str, Any], where: str = "") -> list[str]:
    """Keys that are returned and not documented, or the other way round, and values of another type than documented.

    Args:
        values: What was returned. ``None`` is a value of every type.
        documented: The entries of RETURN, or of a ``contains`` in it.
        where: The way to ``values``, for the messages.
    """
    found = [f"{where}{name} is returned and not documented" for name in values.keys() - documented.keys()]
    found += [f"{where}{name} is documented and not returned" for name in documented.keys() - values.keys()]
    for name in values.keys() & documented.keys():
        found += _value_mismatches(values[name], documented[name], f"{where}{name}")
    return sorted(found)


def _value_mismatches(value: Any, entry: Mapping[str, Any], where: str) -> list[str]:
    if value is None:
        return []
    wanted = entry["type"]
    if not isinstance(value, _TYPES[wanted]) or (wanted != "bool" and isinstance(value, bool)):
        return [f"{where} is a {type(value).__name__}, not a {wanted}"]
    contains: Mapping[str, Any] | None = entry.get("contains")
    if isinstance(value, list):
        row: dict[str, Any] = {"type": entry.get("elements", "str"), "contains": contains}
        return sorted({text for element in value for text in _value_mismatches(element, row, f"{where}[]")})
    return mismatches(value, contains, f"{where}.") if isinstance(value, dict) and contains else []
