"""The resources under ``/v1``: what a client may ask for, and which answers it may get.

Law: a route only translates. What a request means is in ``doors.py`` and ``looking.py``; a message is answered with
202 (201 for a new run) once it is durable, whether or not a host is up.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from sagas.client import Client
from sagas.http import doors, looking
from sagas.http.answers import Accepted, Answer, History, Outcome, Pending, Saga, Sagas, Started, answer
from sagas.http.bodies import ArgsBody, ByBody, ReasonBody, SignalWithStartBody, StartBody
from sagas.http.body import JsonRoute
from sagas.http.doors import Call, Order
from sagas.http.key import HEADER, header_of
from sagas.http.path import segment, text_of
from sagas.http.polling import unless_over
from sagas.http.problem import (
    ALREADY_STARTED,
    CLOSED,
    INVALID,
    KEY_REUSED,
    NO_ANSWER,
    OVERLOADED,
    QUERY_FAILED,
    UNREADABLE,
    UPDATE_FAILED,
    UPDATE_REJECTED,
    Refused,
)
from sagas.http.schema import LOOKS, NAMES, SENDS, problems
from sagas.http.service import Service, service_of
from sagas.ids import check_id
from sagas.kernel.state import Status

T = TypeVar("T")

router = APIRouter(prefix="/v1/sagas", route_class=JsonRoute)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The saga a request is about. ``run_id`` None: the run started last."""

    service: Service
    client: Client
    id: str
    run_id: str | None

    async def answered(self, answer: Awaitable[T], wait_s: float = 0) -> T:
        """The answer to a request that may wait. Raises: TimeoutError when the store takes too long."""
        return await self.service.answered(answer, wait_s)


async def _client(request: Request) -> Client:
    service = await service_of(request)
    return await service.answered(service.client())


async def _id(id: Annotated[str, Path(description="The saga's id, percent-encoded.")]) -> str:
    return check_id(text_of(id))


async def _target(
    service: Annotated[Service, Depends(service_of)],
    id: Annotated[str, Depends(_id)],
    client: Annotated[Client, Depends(_client)],
    run_id: Annotated[
        str | None,
        Query(pattern="^[0-9A-Za-z_-]{1,100}$", description="One run of this id; the one started last if left out."),
    ] = None,
) -> Target:
    return Target(service=service, client=client, id=id, run_id=run_id)


async def _no_run(request: Request) -> None:
    """For what concerns the id alone. Raises: Refused, since ``run_id`` would be ignored."""
    if "run_id" in request.query_params:
        raise Refused(
            INVALID,
            "This goes to the run that was started last, whichever it is: leave run_id out.",
            errors=[{"detail": "not taken here", "parameter": "run_id", "in": "query"}],
        )


async def _name(name: Annotated[str, Path(description="The handler's name.")]) -> str:
    return text_of(name)


async def _key(
    request: Request,
    _shown: Annotated[
        str | None,
        Header(alias=HEADER, description="The same key is taken once, however often it is sent (within 25 hours)."),
    ] = None,
) -> str | None:
    return header_of(request.headers.getlist(HEADER))


ServiceOf = Annotated[Service, Depends(service_of)]
ClientOf = Annotated[Client, Depends(_client)]
TargetOf = Annotated[Target, Depends(_target)]
Id = Annotated[str, Depends(_id)]
Name = Annotated[str, Depends(_name)]
Key = Annotated[str | None, Depends(_key)]
Wait = Annotated[
    float, Query(ge=0, le=60, allow_inf_nan=False, description="How many seconds to wait for it, at most.")
]

_STARTS = {
    200: {"model": Started, "description": "A run that went on was used, or takes the signal."},
    **problems(*SENDS, ALREADY_STARTED, KEY_REUSED, OVERLOADED),
}
_MESSAGES = problems(*SENDS, *NAMES, CLOSED, KEY_REUSED, OVERLOADED)


# --- start


@router.post("", status_code=201, response_model=Started, responses=_STARTS, operation_id="start")
async def start(request: Request, body: StartBody, service: ServiceOf, client: ClientOf, key: Key) -> Response:
    """Begin a run."""
    return _begun(request, await service.answered(doors.start(client, body, key)))


@router.post(
    "/{id}/signal-with-start",
    status_code=201,
    response_model=Started,
    responses=_STARTS,
    operation_id="signalWithStart",
    dependencies=[Depends(_no_run)],
)
async def signal_with_start(
    request: Request, id: Id, body: SignalWithStartBody, service: ServiceOf, client: ClientOf, key: Key
) -> Response:
    """Signal the run of this id; where none goes on, begin one first, in the same durable step."""
    return _begun(request, await service.answered(doors.signal_with_start(client, id, body, key)))


def _begun(request: Request, started: Started) -> Response:
    where = f"{request.scope.get('root_path', '')}{router.prefix}/{segment(started.id)}"
    return answer(started, 201 if started.started else 200, {"location": where})


# --- messages


@router.post(
    "/{id}/signals/{name}", status_code=202, response_model=Accepted, responses=_MESSAGES, operation_id="signal"
)
async def signal(target: TargetOf, name: Name, key: Key, body: ArgsBody | None = None) -> Response:
    """Send a signal to a run."""
    args = [] if body is None else body.args
    sent = doors.signal(target.client, target.id, target.run_id, Call(name=name, args=args), key)
    return answer(await target.answered(sent), 202)


@router.post("/{id}/cancel", status_code=202, response_model=Accepted, responses=_MESSAGES, operation_id="cancel")
async def cancel(target: TargetOf, key: Key, body: ReasonBody | None = None) -> Response:
    """Ask a run to cancel: it undoes what it did, then ends."""
    return await _ordered(target, key, Order(name="cancel", words="" if body is None else body.reason))


@router.post("/{id}/terminate", status_code=202, response_model=Accepted, responses=_MESSAGES, operation_id="terminate")
async def terminate(target: TargetOf, key: Key, body: ReasonBody | None = None) -> Response:
    """End a run at once: no code runs, nothing is undone."""
    return await _ordered(target, key, Order(name="terminate", words="" if body is None else body.reason))


@router.post("/{id}/pause", status_code=202, response_model=Accepted, responses=_MESSAGES, operation_id="pause")
async def pause(target: TargetOf, key: Key, body: ByBody | None = None) -> Response:
    """Run no code of it until it is resumed; messages and results are still recorded."""
    return await _ordered(target, key, Order(name="pause", words="" if body is None else body.by))


@router.post("/{id}/resume", status_code=202, response_model=Accepted, responses=_MESSAGES, operation_id="resume")
async def resume(target: TargetOf, key: Key, body: ByBody | None = None) -> Response:
    """Let a paused run, or a parked one whose cause is gone, go on."""
    return await _ordered(target, key, Order(name="resume", words="" if body is None else body.by))


async def _ordered(target: Target, key: str | None, order: Order) -> Response:
    return answer(await target.answered(doors.order(target.client, target.id, target.run_id, order, key)), 202)


@router.post(
    "/{id}/queries/{name}",
    response_model=Answer,
    responses=problems(*SENDS, *NAMES, QUERY_FAILED, NO_ANSWER, OVERLOADED, UNREADABLE),
    operation_id="query",
    dependencies=[Depends(_no_run)],
)
async def query(id: Id, name: Name, service: ServiceOf, client: ClientOf, body: ArgsBody | None = None) -> Response:
    """Ask a query of the saga's present state, or of its last one when it has ended. A host must be up."""
    call = Call(name=name, args=[] if body is None else body.args)
    return answer(await service.answered(looking.ask(client.access, id, call)))


@router.post(
    "/{id}/updates/{name}",
    response_model=Answer,
    responses={
        202: {"model": Pending, "description": "It has no outcome yet."},
        **problems(*SENDS, *NAMES, CLOSED, UPDATE_REJECTED, UPDATE_FAILED, OVERLOADED, UNREADABLE),
    },
    operation_id="update",
)
async def update(
    request: Request, target: TargetOf, name: Name, key: Key, body: ArgsBody | None = None, wait: Wait = 30
) -> Response:
    """Send an update to a run and wait for what its handler returns, up to ``wait`` seconds."""
    call = Call(name=name, args=[] if body is None else body.args)
    sent = doors.update(target.client, target.id, target.run_id, call, key, wait)
    found = await target.answered(unless_over(sent, request, target.service.stopping), wait)
    if isinstance(found, bytes):
        return answer(Answer(value=looking.stored(found)))
    return answer(found or Pending(id=target.id), 202)


# --- look


@router.get("", response_model=Sagas, responses=problems(*LOOKS), operation_id="list")
async def list_sagas(
    service: ServiceOf,
    client: ClientOf,
    query: Annotated[
        str,
        Query(
            description="field = 'value' (or !=), joined by and; fields are status, type, id, compensation and parked.",
            examples=["status = 'running' and type = 'Subscription'"],
            max_length=2000,
        ),
    ] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Sagas that match, in no particular order."""
    return answer(await service.answered(looking.find(client, query, limit)))


@router.get("/{id}", response_model=Saga, responses=problems(*LOOKS, *NAMES, UNREADABLE), operation_id="describe")
async def describe(target: TargetOf) -> Response:
    """How a saga stands, and what it waits for."""
    taken_s = target.service.limits.taken_s
    return answer(await target.answered(looking.describe(target.client.access, target.id, target.run_id, taken_s)))


@router.get(
    "/{id}/result",
    response_model=Outcome,
    responses={
        202: {"model": Outcome, "description": "It has not ended yet: ask again."},
        **problems(*LOOKS, *NAMES, UNREADABLE),
    },
    operation_id="result",
)
async def result(
    request: Request,
    target: TargetOf,
    wait: Wait = 0,
) -> Response:
    """How a run has ended; waits for it up to ``wait`` seconds. A run that did not complete is an answer, no error."""
    access = target.client.access
    run = await target.answered(looking.run_of(access, target.id, target.run_id))
    waiting = unless_over(looking.outcome(access, target.id, run, wait), request, target.service.stopping)
    found = await target.answered(waiting, wait)
    if found is None:
        found = Outcome(id=target.id, run_id=run, status=Status.RUNNING)
    goes_on = found.status is Status.RUNNING and found.parked is None
    return answer(found, 202 if goes_on else 200)


@router.get(
    "/{id}/history", response_model=History, responses=problems(*LOOKS, *NAMES, UNREADABLE), operation_id="history"
)
async def history(
    target: TargetOf,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """The events of a run, oldest first, with their values as JSON."""
    page = slice(offset, offset + limit)
    return answer(await target.answered(looking.history(target.client.access, target.id, target.run_id, page)))
