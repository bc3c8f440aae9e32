"""Problems: every error that leaves this API, as RFC 9457 has it. All kinds of them are in this module.

Law: a ``type`` never changes its meaning; ``detail`` is written for a stranger: what happened, whose fault it is and
what to do next, never a trace, an address or a name from inside. ``instance`` names the occurrence, also in the log.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import HTTPException
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
_URN: Final = "urn:ray-sagas:problem:"
_LONGEST_DETAIL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One class of errors; ``name`` ends its ``type``."""

    name: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        """The ``type`` of problems of this kind."""
        return _URN + self.name


MALFORMED = Kind(name="malformed-request", status=400, title="The request cannot be read")
UNAUTHORIZED = Kind(name="unauthorized", status=401, title="A bearer token is needed")
FORBIDDEN = Kind(name="forbidden", status=403, title="This address may not be used from there")
NO_RESOURCE = Kind(name="no-such-resource", status=404, title="There is nothing at this path")
NOT_FOUND = Kind(name="saga-not-found", status=404, title="No such saga")
NO_METHOD = Kind(name="method-not-allowed", status=405, title="This resource does not know the method")
TOO_SLOW = Kind(name="request-timeout", status=408, title="The request body did not arrive in time")
CLOSED = Kind(name="saga-closed", status=409, title="The saga has ended")
ALREADY_STARTED = Kind(name="saga-already-started", status=409, title="A saga with this id was started before")
CALLBACK_DONE = Kind(name="callback-done", status=409, title="The callback was answered before")
TOO_LARGE = Kind(name="content-too-large", status=413, title="The request body is too large")
NOT_JSON = Kind(name="unsupported-media-type", status=415, title="The request body must be JSON")
INVALID = Kind(name="invalid-argument", status=422, title="The request asks for something that cannot be")
KEY_REUSED = Kind(name="idempotency-key-reused", status=422, title="The Idempotency-Key belongs to another request")
QUERY_FAILED = Kind(name="query-failed", status=422, title="The saga did not answer the query")
UPDATE_REJECTED = Kind(name="update-rejected", status=422, title="The saga rejected the update")
UPDATE_FAILED = Kind(name="update-failed", status=422, title="The update failed")
UNREADABLE = Kind(name="unreadable", status=500, title="What is stored cannot be read")
INTERNAL = Kind(name="internal-error", status=500, title="Something is wrong with this server")
OVERLOADED = Kind(name="overloaded", status=503, title="Too many messages are waiting")
UNAVAILABLE = Kind(name="store-unavailable", status=503, title="The store cannot be reached")
NO_ANSWER = Kind(name="no-answer", status=503, title="No host answered")

KINDS: Final = tuple(each for each in globals().values() if isinstance(each, Kind))


def _new_instance() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One occurrence. ``members`` are the extension members; a ``retry_after`` (seconds) among them is a header too."""

    kind: Kind
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    instance: str = field(default_factory=_new_instance)

    def body(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "type": self.kind.uri,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail[:_LONGEST_DETAIL],
            "instance": self.instance,
            **self.members,
        }

    def response(self) -> Response:
        """As sent. JSON's escapes keep what a client sent us, and could not be sent back as UTF-8, harmless."""
        headers = {"cache-control": "no-store", **self.headers}
        if "retry_after" in self.members:
            headers["retry-after"] = str(max(1, math.ceil(self.members["retry_after"])))
        return Response(
            json.dumps(self.body()).encode("ascii"), self.kind.status, headers=headers, media_type=MEDIA_TYPE
        )


class Refused(HTTPException):
    """Raised anywhere below a route: the request ends with this problem. (FastAPI lets only its own class through.)"""

    def __init__(self, kind: Kind, detail: str, **members: Any) -> None:
        self.problem = Problem(kind=kind, detail=detail, members=members, headers=_HEADERS.get(kind, {}))
        super().__init__(kind.status, detail)


_HEADERS: dict[Kind, dict[str, str]] = {
    UNAUTHORIZED: {"www-authenticate": 'Bearer realm="sagas"'},
    # What is left of the body is not waited for. (It is after TOO_LARGE, and thrown away, because a client that still
    # sends when its connection is closed may never see the answer.)
    TOO_SLOW: {"connection": "close"},
}
