"""Processes for dedicated instances: Ray actors that die with their host, since it alone may give them turns."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import ray

from actors.calls import GONE, answer, original
from actors.names import ray_namespace, saga_name
from actors.saga import Elsewhere, SagaActor
from actors.settings import ClusterSettings
from sagas.engine.placement import SeatLost
from sagas.engine.resident import Input, Turn
from sagas.kernel.saga import SagaType
from sagas.store.port import Loaded

_GONE = (*GONE, Elsewhere)


class RayPlacement:
    """Makes an actor for each instance that needs one, named after it."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.limit = settings.dedicated
        self._settings = settings
        self._open: dict[str, _RaySeat] = {}

    async def open(self, id: str, saga_type: SagaType) -> _RaySeat:
        """Its actor, once Ray has found what it asks for. Raises: SeatLost."""
        actor = None
        try:
            # In a thread: it waits for Ray's head.
            actor = await asyncio.to_thread(self._make, id, saga_type)
            pid = await answer(actor.ready.remote())
        except BaseException as error:
            if actor is not None:
                ray.kill(actor)
            if isinstance(error, Exception):
                raise SeatLost(f"its process cannot be made: {original(error)}") from error
            raise
        seat = self._open[id] = _RaySeat(actor, pid)
        return seat

    def described(self) -> dict[str, int]:
        """Instances that have a process now -> its id."""
        self._open = {id: seat for id, seat in self._open.items() if not seat.closed}
        return {id: seat.pid for id, seat in self._open.items()}

    def _make(self, id: str, saga_type: SagaType) -> Any:
        return (
            ray.remote(SagaActor)
            .options(
                name=saga_name(id),
                namespace=ray_namespace(self._settings.namespace),
                get_if_exists=True,  # of a host that lost the instance and does not know it yet; it loads it anew
                max_restarts=0,
                max_task_retries=0,
                runtime_env=self._settings.runtime_env,
                **{"num_cpus": 0, **(saga_type.ray or {})},
            )
            .remote(id, self._settings)
        )


class _RaySeat:
    """One of them, in a session that only this host knows."""

    def __init__(self, actor: Any, pid: int) -> None:
        self.pid = pid
        self.closed = False
        self._actor = actor
        self._session = uuid.uuid4().hex

    async def load(self, loaded: Loaded) -> None:
        await self._call("load", loaded)

    async def turn(self, inputs: list[Input], now_ms: int, *, run: bool) -> tuple[Turn, bool]:
        made: tuple[Turn, bool] = await self._call("turn", inputs, now_ms, run)
        return made

    def close(self) -> None:
        self.closed = True
        ray.kill(self._actor)

    async def _call(self, method: str, *args: Any) -> Any:
        try:
            return await answer(getattr(self._actor, method).remote(self._session, *args))
        except Exception as error:
            cause = original(error)
            if isinstance(cause, _GONE):
                raise SeatLost(str(cause).partition("\n")[0] or type(cause).__name__) from error
            raise
