"""The little language of ``client.list`` and ``count``. Pure.

    query     = term { "and" term }            "" means everything
    term      = field ("=" | "!=") value
    field     = status | type | id | compensation | parked | "attributes." name
    name      = letters, digits, "_" and "-"   or, whatever its letters, 'quoted'
    value     = 'text'                         a quote in it is doubled
              | number | true | false          of attributes alone

Law: values are equal when they are of one sort: the text '5' is not the number 5, 1 is 1.0 but not true. An attribute
that an instance does not have is equal to nothing, and so it is unequal to everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagas.errors import InvalidArgument

_TEXT = r"'(?:[^']|'')*'"
_TERM = re.compile(
    rf"""\s*(?P<field>\w+)(?:\.(?P<name>[\w-]+|{_TEXT}))?
         \s*(?P<operator>!?=)\s*
         (?P<value>{_TEXT}|true\b|false\b|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]))\s*""",
    re.ASCII | re.VERBOSE | re.IGNORECASE,
)
_AND = re.compile(r"and\b", re.IGNORECASE)
_ATTRIBUTES = "attributes"
FIELDS = ("status", "type", "id", "compensation", "parked")

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One comparison; ``name`` is that of an attribute, "" where ``field`` says it all."""

    field: str
    equal: bool
    value: Value
    name: str = ""

    def holds(self, row: Mapping[str, str], attributes: Mapping[str, Any]) -> bool:
        """Whether an instance with these fields and attributes is meant."""
        found = attributes.get(self.name) if self.field == _ATTRIBUTES else row.get(self.field, "")
        same = _sort(found) is _sort(self.value) and found == self.value
        return same is self.equal


@dataclass(frozen=True, slots=True)
class Filter:
    """All of its terms must hold; none at all means everything."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read ``"status = 'running' and type = 'Subscription' and attributes.plan = 'pro'"``.

        Raises: InvalidArgument with the place that could not be read.
        """
        terms: list[Term] = []
        at = 0
        while text[at:].strip():
            if terms:
                joined = _AND.match(text, at)
                if joined is None:
                    raise InvalidArgument(f"expected 'and' at {text[at:]!r} in the query {text!r}")
                at = joined.end()
            term = _TERM.match(text, at)
            if term is None:
                raise InvalidArgument(f"expected field = 'value' at {text[at:]!r} in the query {text!r}")
            terms.append(_term(term))
            at = term.end()
        return cls(tuple(terms))

    def value_of(self, field: str) -> str | None:
        """The value ``field`` (no attribute) must equal, when the filter says so."""
        return next((str(term.value) for term in self.terms if term.field == field and term.equal), None)

    def matches(self, row: Mapping[str, str], attributes: Mapping[str, Any]) -> bool:
        """Whether an instance with these fields and attributes is meant."""
        return all(term.holds(row, attributes) for term in self.terms)


def _term(match: re.Match[str]) -> Term:
    field, name, value = match["field"], match["name"], _value(match["value"])
    equal = match["operator"] == "="
    if field == _ATTRIBUTES and name is not None:
        return Term(field=field, name=_unquoted(name), equal=equal, value=value)
    if field not in FIELDS or name is not None:
        said = field if name is None else f"{field}.{name}"
        known = ", ".join((*FIELDS, "attributes.<name>"))
        raise InvalidArgument(f"unknown field {said!r} in a query; there are {known}")
    if not isinstance(value, str):
        raise InvalidArgument(f"{field} is a text: write {field} {match['operator']} '{match['value']}' in the query")
    return Term(field=field, equal=equal, value=value)


def _value(text: str) -> Value:
    if text.startswith("'"):
        return _unquoted(text)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'") if text.startswith("'") else text


def _sort(value: object) -> type:
    """Numbers are of one sort, and truth values are no numbers."""
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
