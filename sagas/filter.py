"""The little language of ``client.list`` and ``count``: ``field = 'value'``, joined by ``and``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sagas.errors import InvalidArgument

_TERM = re.compile(r"\s*(?P<field>\w+)\s*(?P<operator>!?=)\s*'(?P<value>(?:[^']|'')*)'\s*", re.ASCII)
_AND = re.compile(r"and\b", re.IGNORECASE)
FIELDS = ("status", "type", "id", "compensation", "parked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One comparison."""

    field: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True)
class Filter:
    """All of its terms must hold; none at all means everything."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read ``"status = 'running' and type = 'Subscription'"``; a quote in a value is doubled.

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
        """The value ``field`` must equal, when the filter says so."""
        return next((term.value for term in self.terms if term.field == field and term.equal), None)

    def matches(self, row: dict[str, str]) -> bool:
        """Whether an instance with these fields is meant."""
        return all((row.get(term.field, "") == term.value) is term.equal for term in self.terms)


def _term(match: re.Match[str]) -> Term:
    field = match["field"]
    if field not in FIELDS:
        raise InvalidArgument(f"unknown field {field!r} in a query; there are {', '.join(FIELDS)}")
    return Term(field=field, equal=match["operator"] == "=", value=match["value"].replace("''", "'"))
