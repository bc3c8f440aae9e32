"""Arguments as typed on a command line: ``k=v`` pairs, and values that are JSON when they can be read as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from sagas.errors import ArgumentMismatch, InvalidArgument, PayloadError
from sagas.payloads import Signature, decode, encode


def value_of(text: str) -> Any:
    """What ``text`` is as JSON, else the text itself: ``500`` is a number, ``"500"`` and ``u-500`` are strings."""
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def attributes_of(pairs: Sequence[str]) -> dict[str, Any]:
    """``["region=eu", "size=3"]`` as a dict. Raises: InvalidArgument."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise InvalidArgument(f"--attributes {pair!r}: give name=value, for example --attributes region=eu")
        found[name] = value_of(value)
    return found


def fitted(signature: Signature, texts: Sequence[str]) -> tuple[Any, ...]:
    """The arguments as the signature wants them: an order number 500 stays the text "500" where a str is asked for.

    Raises: ArgumentMismatch when they are too many or too few, or one is of another type.
    """
    annotations = list(signature.annotations.values())
    values = tuple(
        _fit(text, annotations[place] if place < len(annotations) else Any) for place, text in enumerate(texts)
    )
    try:
        return signature.decode(signature.encode(values, {}))[0]
    except PayloadError as error:
        raise ArgumentMismatch(f"{signature} does not take these arguments: {error}") from error


def _fit(text: str, annotation: object) -> Any:
    """The value, or the text where only that is of the annotated type; where neither is, the value, to be refused."""
    value = value_of(text)
    return text if not _fits(value, annotation) and _fits(text, annotation) else value


def _fits(value: object, annotation: object) -> bool:
    try:
        decode(encode(value), annotation)
    except PayloadError:
        return False
    return True


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
