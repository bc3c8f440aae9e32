"""Probes: whether the process is up, and whether the store answers. They need no token and tell no more than that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from sagas.http.answers import Health, answer
from sagas.http.problem import FORBIDDEN, INTERNAL, UNAVAILABLE
from sagas.http.schema import problems
from sagas.http.service import Service, service_of

router = APIRouter()


@router.get("/healthz", response_model=Health, responses=problems(FORBIDDEN, INTERNAL), operation_id="healthz")
async def healthz() -> Response:
    """Up: the process takes requests."""
    return answer(Health(status="up"))


@router.get(
    "/readyz", response_model=Health, responses=problems(FORBIDDEN, INTERNAL, UNAVAILABLE), operation_id="readyz"
)
async def readyz(service: Annotated[Service, Depends(service_of)]) -> Response:
    """Ready: the store answers."""
    await service.answered(_look(service))
    return answer(Health(status="ready"))


async def _look(service: Service) -> None:
    await (await service.client()).access.store.admitted("readyz")
