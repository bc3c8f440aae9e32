"""Values as text for a terminal or a machine. Knows no rich, so that errors can be told without loading it.

Law: text that came from elsewhere (an id, a reason, a result) is data: a character that could steer a terminal is shown
as an escape. JSON stays JSON: there the escape is JSON's own.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AnySet
from datetime import date, datetime, time, timedelta


def plain(text: str) -> str:
    """``text`` with every control character but newline and tab as an escape."""
    return _escaped(text, lambda character: character.encode("unicode_escape").decode())


def one_line(value: object, limit: int = 100) -> str:
    """Any value on one line of at most ``limit`` characters; a str without quotes."""
    text = plain(" ".join(value.split()) if isinstance(value, str) else to_json(value))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def to_json(value: object, indent: int | None = None) -> str:
    """Any value as JSON; what JSON has no form for becomes text (dates in ISO, bytes in base64, sets as lists)."""
    text = json.dumps(jsonable(value), ensure_ascii=False, indent=indent)
    return _escaped(text, lambda character: json.dumps(character)[1:-1])


def jsonable(value: object) -> object:
    """``value`` in terms of what ``json`` writes."""
    match value:
        case enum.Enum():
            return jsonable(value.value)
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {_key(key): jsonable(each) for key, each in value.items()}
        case list() | tuple():
            return [jsonable(each) for each in value]
        case AnySet():
            return sorted((jsonable(each) for each in value), key=repr)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: jsonable(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return str(value)


def _key(key: object) -> str:
    return key if isinstance(key, str) else one_line(key)


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else escape(each) for each in text)
