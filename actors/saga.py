"""An instance in a process of its own. Law: it runs code and knows no store; what it forgets is in the host's commits.

No loop runs in here: each call is one turn, from its first line to its last, as in a host.
"""

from __future__ import annotations

import os

from actors.settings import ClusterSettings
from sagas.engine.resident import Input, Resident, Turn
from sagas.kernel.registry import Registry
from sagas.modules import load_modules
from sagas.store.port import Loaded
from sagas.telemetry.environment import exporter_from_environment


class Elsewhere(Exception):
    """This process has another session now, or none: its caller must load the instance anew."""


class SagaActor:
    """Holds one instance for one host at a time: who loads it has it until the next one does.

    What goes in and out is Ray's to serialize: it comes from a host of this cluster, never from Redis or HTTP.
    """

    def __init__(self, id: str, settings: ClusterSettings) -> None:
        self._id = id
        self._settings = settings
        self._registry: Registry | None = None
        self._session = ""
        self._resident: Resident | None = None

    def __repr__(self) -> str:  # what stands before the lines that the saga prints
        return f"saga-{self._id}"

    def ready(self) -> int:
        """The process is up; its id."""
        return os.getpid()

    def load(self, session: str, loaded: Loaded) -> None:
        """Begin a session: rebuild the instance from what the store has. Raises: what the modules raise."""
        if self._registry is None:
            self._registry = Registry(load_modules(self._settings.modules))
        if self._resident is not None:
            self._resident.evict()
        self._session, self._resident = session, self._empty(self._registry)
        self._resident.load(loaded)

    def _empty(self, registry: Registry) -> Resident:
        exporter = exporter_from_environment()
        if exporter is None:
            return Resident(self._id, registry)
        traceparent, of_messages = exporter.traceparent, exporter.message_traceparent
        return Resident(self._id, registry, traceparent=traceparent, message_traceparent=of_messages)

    def turn(self, session: str, inputs: list[Input], now_ms: int, run: bool) -> tuple[Turn, bool]:
        """One turn with these inputs too; whether inputs are left for another. Raises: Elsewhere; a defect of ours."""
        if self._resident is None or session != self._session:
            raise Elsewhere(session)
        self._resident.inputs.extend(inputs)
        turn = self._resident.turn(now_ms, run=run)
        return turn, bool(self._resident.inputs)
