"""What is asked of the store about instances: how they stand, how they ended, what happened. No host is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from itertools import islice
from typing import Any

from compensations import Compensation
from sagas.access import Access
from sagas.cli.events import json_of
from sagas.client import Client
from sagas.description import Description
from sagas.errors import (
    HistoryError,
    PayloadError,
    SagaCancelled,
    SagaFailed,
    SagaNotFound,
    SagaParked,
    SagaTerminated,
    SagaTimedOut,
)
from sagas.http.answers import Answer, Fault, History, Outcome, Saga, Sagas, Waiting
from sagas.http.doors import Call
from sagas.http.problem import NOT_FOUND, Refused
from sagas.kernel.events import Event, decode_chunk
from sagas.kernel.handlers import handler_args
from sagas.kernel.state import Status
from sagas.payloads import decode
from sagas.store.head import decode_head


async def run_of(access: Access, id: str, run_id: str | None) -> str:
    """The run that is meant: ``run_id``, else the one that was started last. Raises: SagaNotFound, Refused."""
    admitted, head = await access.store.standing(id)
    if admitted is None and head is None:
        raise SagaNotFound(id)
    current = admitted or ("" if head is None else decode_head(head).run_id)
    if run_id is None or run_id == current:
        return current
    if not await access.store.history(id, run_id, -1):
        raise Refused(
            NOT_FOUND,
            f"saga {id!r} has no run {run_id!r}: leave run_id out for the one started last",
            id=id,
            run_id=run_id,
        )
    return run_id


async def describe(access: Access, id: str, run_id: str | None, taken_s: float) -> Saga:
    """How a run stands; one that no host has taken within ``taken_s`` waits for a host."""
    run = await run_of(access, id, run_id)
    try:
        async with asyncio.timeout(taken_s):
            return _saga(await access.describe(id, run))
    except TimeoutError:
        if await access.store.admitted(id) == run:
            return _not_taken(id, run)
    return _saga(await access.describe(id, run))  # it was taken just now


async def find(client: Client, query: str, limit: int) -> Sagas:
    """Up to ``limit`` sagas that match the query. Raises: InvalidArgument."""
    rows: list[Saga] = []
    async with aclosing(client.list(query)) as found:  # type: ignore[type-var]  # a generator, typed as its iterator
        async for row in found:
            if len(rows) == limit:
                return Sagas(sagas=rows, more=True)
            rows.append(_saga(row))
    return Sagas(sagas=rows, more=False)


async def outcome(access: Access, id: str, run: str, wait_s: float) -> Outcome:
    """How the run has ended within ``wait_s``, or that it has not."""
    try:
        result = await access.result(id, run, wait_s)
    except TimeoutError:
        return Outcome(id=id, run_id=run, status=Status.RUNNING)
    except SagaParked as error:
        return Outcome(id=id, run_id=run, status=Status.RUNNING, parked=error.reason)
    except SagaFailed as error:
        fault = Fault(cause_type=error.cause_type, message=error.message, undo_errors=list(error.undo_errors))
        return Outcome(id=id, run_id=run, status=Status.FAILED, error=fault)
    except SagaCancelled as error:
        return Outcome(id=id, run_id=run, status=Status.CANCELLED, reason=error.reason)
    except SagaTimedOut as error:
        return Outcome(id=id, run_id=run, status=Status.TIMED_OUT, reason=error.reason)
    except SagaTerminated as error:
        return Outcome(id=id, run_id=run, status=Status.TERMINATED, reason=error.reason)
    return Outcome(id=id, run_id=run, status=Status.COMPLETED, result=stored(result))


async def history(access: Access, id: str, run_id: str | None, page: slice[int, int, None]) -> History:
    """Events of a run; none of one that no host has taken yet."""
    run = await run_of(access, id, run_id)
    found = list(islice(_from(await access.store.history(id, run), page.start), page.stop - page.start + 1))
    shown = [event for position, event in found if position < page.stop]
    rows = [json_of(position, event) for position, event in enumerate(await access.whole(id, run, shown), page.start)]
    return History(id=id, run_id=run, events=rows, next=page.stop if len(found) > len(rows) else None)


def _from(chunks: Iterable[bytes], start: int) -> Iterator[tuple[int, Event]]:
    """Each event from ``start`` on, and its position; only chunks that are asked for are decoded."""
    return islice(enumerate(event for chunk in chunks for event in decode_chunk(chunk)), start, None)


async def ask(access: Access, id: str, call: Call) -> Answer:
    """The answer to a query, from a host. Raises: QueryFailed, SagaNotFound."""
    return Answer(value=stored(await access.ask(id, call.name, handler_args(call.name, tuple(call.args)))))


def stored(payload: bytes) -> Any:
    """A value of the saga's, as plain values. Raises: HistoryError when it cannot be read here."""
    try:
        return decode(payload)
    except PayloadError as error:
        raise HistoryError(str(error)) from error


def _saga(found: Description) -> Saga:
    return Saga(
        id=found.id,
        run_id=found.run_id,
        type=found.type,
        status=found.status,
        compensation=found.compensation,
        parked=found.parked,
        paused=found.paused,
        waiting_for=[Waiting(kind=wait.kind, what=wait.what, at=wait.at) for wait in found.waiting_for],
        started=found.started,
        closed=found.closed,
        attributes=found.attributes,
        history_length=found.history_length,
        dead_letters=found.dead_letters,
    )


def _not_taken(id: str, run: str) -> Saga:
    return Saga(
        id=id,
        run_id=run,
        type=None,
        status=Status.RUNNING,
        compensation=Compensation.NONE,
        parked=None,
        paused=False,
        waiting_for=[Waiting(kind="host", what="no host has taken it yet")],
        started=None,
        closed=None,
        attributes={},
        history_length=0,
    )
