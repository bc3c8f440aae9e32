"""The resources under ``/v1/callbacks``: answers of those to whom a saga gave a token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from sagas.http import doors
from sagas.http.answers import Accepted, answer
from sagas.http.bodies import ErrorBody, ValueBody
from sagas.http.body import JsonRoute
from sagas.http.path import text_of
from sagas.http.problem import CALLBACK_DONE, CLOSED, OVERLOADED, UNREADABLE
from sagas.http.routes import ClientOf, Key, ServiceOf
from sagas.http.schema import NAMES, SENDS, problems

router = APIRouter(prefix="/v1/callbacks", route_class=JsonRoute)


async def _token(token: Annotated[str, Path(description="What `sagas.callback().token` gave.")]) -> str:
    return text_of(token)


TokenText = Annotated[str, Depends(_token)]
_ANSWERS = problems(*SENDS, *NAMES, CLOSED, CALLBACK_DONE, OVERLOADED, UNREADABLE)


@router.post(
    "/{token}/complete", status_code=202, response_model=Accepted, responses=_ANSWERS, operation_id="completeCallback"
)
async def complete(
    token: TokenText, service: ServiceOf, client: ClientOf, key: Key, body: ValueBody | None = None
) -> Response:
    """Give a callback its value: the saga that waits for it goes on."""
    value = None if body is None else body.value
    return answer(await service.answered(doors.complete(client, token, value, key)), 202)


@router.post("/{token}/fail", status_code=202, response_model=Accepted, responses=_ANSWERS, operation_id="failCallback")
async def fail(token: TokenText, service: ServiceOf, client: ClientOf, key: Key, body: ErrorBody) -> Response:
    """Say that a callback failed: an error is raised in the saga that waits for it."""
    return answer(await service.answered(doors.fail(client, token, body.error, key)), 202)
