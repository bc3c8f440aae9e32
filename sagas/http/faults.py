"""From an exception to the problem a stranger may see of it. What is only for the operator goes to the log here.

Law: the words of an error are shown only where the client's own request or the saga it asked about caused them; errors
of the store and of this server are told in words of this module, and logged whole under the problem's ``instance``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from sagas.errors import (
    ArgumentMismatch,
    CallbackDone,
    HistoryError,
    InvalidArgument,
    Overloaded,
    PayloadError,
    QueryFailed,
    SagaAlreadyStarted,
    SagaClosed,
    SagaNotFound,
    StoreUnavailable,
    UnsafeStore,
    UpdateFailed,
    UpdateRejected,
)
from sagas.http import problem as kinds
from sagas.http.problem import Problem, Refused

log = logging.getLogger("sagas.http")

RETRY_AFTER_S = 1.0
_MOST_ERRORS = 20
_SAFE_AGAIN = (
    "Whether the request was taken is not known. Send it again, with the same Idempotency-Key if it had one: "
    "then it is taken once."
)


def problem_of(error: Exception) -> Problem:
    """The problem for any exception."""
    match error:
        case Refused():
            return error.problem
        case RequestValidationError():
            return _invalid(error.errors())
        case HTTPException():
            return _of_framework(error)
        case SagaNotFound():
            return Problem(kind=kinds.NOT_FOUND, detail=str(error), members={"id": error.id})
        case SagaClosed():
            return Problem(kind=kinds.CLOSED, detail=str(error), members={"id": error.id, "saga_status": error.status})
        case SagaAlreadyStarted():
            members = {"id": error.id, "run_id": error.run_id, "saga_status": error.status}
            return Problem(kind=kinds.ALREADY_STARTED, detail=str(error), members=members)
        case QueryFailed() | UpdateRejected() | UpdateFailed() | CallbackDone():
            return _of_answer(error)
        case InvalidArgument() | ArgumentMismatch() | PayloadError():
            return Problem(kind=kinds.INVALID, detail=str(error))
        case Overloaded():
            return Problem(kind=kinds.OVERLOADED, detail=str(error), members={"retry_after": error.retry_after})
    return _of_server(error)


def _of_answer(error: QueryFailed | UpdateRejected | UpdateFailed | CallbackDone) -> Problem:
    match error:
        case QueryFailed():
            return _of_query(error)
        case UpdateRejected():
            return Problem(kind=kinds.UPDATE_REJECTED, detail=str(error), members={"name": error.name})
        case UpdateFailed():
            members = {"name": error.name, "cause_type": error.cause_type}
            return Problem(kind=kinds.UPDATE_FAILED, detail=str(error), members=members)
        case CallbackDone():
            return Problem(kind=kinds.CALLBACK_DONE, detail=str(error), members={"id": error.id})


def _of_query(error: QueryFailed) -> Problem:
    members = {"name": error.name, "cause_type": error.cause_type}
    if error.cause_type == "NoAnswer":
        return Problem(kind=kinds.NO_ANSWER, detail=str(error), members=members | {"retry_after": RETRY_AFTER_S})
    return Problem(kind=kinds.QUERY_FAILED, detail=str(error), members=members)


def _of_server(error: Exception) -> Problem:
    match error:
        case StoreUnavailable() | UnsafeStore():
            found = Problem(
                kind=kinds.UNAVAILABLE,
                detail=f"The store behind this API does not answer, or takes no writes. {_SAFE_AGAIN}",
                members={"retry_after": RETRY_AFTER_S},
            )
            log.warning("%s: %s", found.instance, error)
        case TimeoutError():
            found = Problem(
                kind=kinds.UNAVAILABLE,
                detail=f"The store behind this API did not answer in time. {_SAFE_AGAIN}",
                members={"retry_after": RETRY_AFTER_S},
            )
            log.warning("%s: the store did not answer in time", found.instance)
        case HistoryError() | RecursionError():
            found = Problem(
                kind=kinds.UNREADABLE,
                detail="What is stored of this saga cannot be read by this version of the API. The operator finds the "
                "cause in the log under this instance.",
            )
            log.error("%s: %s: %s", found.instance, type(error).__name__, error)
        case _:
            found = Problem(
                kind=kinds.INTERNAL,
                detail="This is a defect of the server, not of the request. The operator finds the cause in the log "
                f"under this instance. {_SAFE_AGAIN}",
            )
            log.error("%s: %s", found.instance, type(error).__name__, exc_info=error)
    return found


def _of_framework(error: HTTPException) -> Problem:
    """What the router itself refuses."""
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return Problem(
                kind=kinds.NO_RESOURCE, detail="No resource has this path: /openapi.json lists those there are."
            )
        case 405:
            allowed = headers.get("Allow", "")
            return Problem(
                kind=kinds.NO_METHOD, detail=f"Use {allowed or 'another method'} on this resource.", headers=headers
            )
        case status if status < 500:
            return Problem(kind=kinds.MALFORMED, detail="The request was broken off, or its body cannot be read.")
    return _of_server(error)


def _invalid(errors: Sequence[Any]) -> Problem:
    """What does not fit the described request: where, and why, without a copy of what was sent."""
    told = [_told(error) for error in errors[:_MOST_ERRORS]]
    first = told[0] if told else {"detail": "it does not fit"}
    place = first.get("pointer") or first.get("parameter") or "the request"
    return Problem(
        kind=kinds.INVALID,
        detail=f"{place}: {first['detail']}. /openapi.json describes what this resource takes.",
        members={"errors": told},
    )


def _told(error: Any) -> dict[str, str]:
    where, *path = [str(part)[:100] for part in error["loc"]] or [""]
    message = str(error["msg"])[:500]
    if where == "body":
        return {"detail": message, "pointer": "#" + "".join(f"/{_escaped(part)}" for part in path)}
    return {"detail": message, "parameter": "/".join(path), "in": where}


def _escaped(part: str) -> str:
    """As a segment of a JSON Pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
