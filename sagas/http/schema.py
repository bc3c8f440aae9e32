"""``/openapi.json``: FastAPI's account of the routes, with the problems that it cannot know of.

Law: every answer a route can give is in its schema, errors included; tests hold real answers against it.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sagas.http.problem import (
    FORBIDDEN,
    INTERNAL,
    INVALID,
    MALFORMED,
    MEDIA_TYPE,
    NOT_FOUND,
    NOT_JSON,
    TOO_LARGE,
    TOO_SLOW,
    UNAUTHORIZED,
    UNAVAILABLE,
    Kind,
)

LOOKS: Final = (UNAUTHORIZED, FORBIDDEN, INVALID, INTERNAL, UNAVAILABLE)
"""What any request may end with."""
SENDS: Final = (*LOOKS, MALFORMED, TOO_SLOW, TOO_LARGE, NOT_JSON)
"""What any request with a body may end with."""
NAMES: Final = (NOT_FOUND,)
"""What any request that names a saga may end with."""

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. Further members depend on the type.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "The kind of error; never changes its meaning."},
        "title": {"type": "string", "description": "The kind in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What happened, whose fault it is, and what to do next."},
        "instance": {"type": "string", "format": "uri", "description": "This occurrence, also in the server's log."},
        "id": {"type": "string", "description": "The saga's id."},
        "run_id": {"type": "string"},
        "saga_status": {"type": "string", "description": "How the run stands that is in the way."},
        "retry_after": {"type": "number", "minimum": 0, "description": "Seconds, as in the header Retry-After."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": {"type": "string"},
                    "pointer": {"type": "string", "description": "Where in the body: a JSON Pointer after #."},
                    "parameter": {"type": "string", "description": "Which parameter."},
                    "in": {"type": "string", "description": "Where the parameter is: path, query or header."},
                },
            },
        },
    },
    "additionalProperties": True,
}
_SECURITY: Final = {"bearer": {"type": "http", "scheme": "bearer"}}


def problems(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that may end with problems of these kinds."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({kind.status for kind in kinds}):
        told = [f"{kind.title} (`{kind.uri}`)." for kind in dict.fromkeys(kinds) if kind.status == status]
        found[status] = {
            "description": " ".join(told),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **_headers(status),
        }
    return found


def document(app: FastAPI, *, secured: bool) -> dict[str, Any]:
    """The whole document; ``secured``: a token is needed."""
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = found.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    if secured:
        components["securitySchemes"] = _SECURITY
        found["security"] = [{"bearer": []}]
        for probe in ("/healthz", "/readyz"):
            found["paths"][probe]["get"]["security"] = []
    return found


def _headers(status: int) -> dict[str, Any]:
    name = {401: "WWW-Authenticate", 503: "Retry-After"}.get(status)
    return {} if name is None else {"headers": {name: {"schema": {"type": "string"}}}}
