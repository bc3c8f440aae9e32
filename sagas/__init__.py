"""Durable sagas: flows that sleep for months, survive any crash, and undo what they did when they fail.

Everything public is here; nothing heavy is imported before it is used (PEP 562), so that ``import sagas`` brings in
neither Ray nor Redis.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compensations import Compensation as Compensation
    from compensations import Outcome as Outcome
    from compensations import Retry as Retry
    from sagas import testing as testing
    from sagas.client import Client as Client
    from sagas.cluster import up as up
    from sagas.connection import connect as connect
    from sagas.deleting import Erasure as Erasure
    from sagas.description import Description as Description
    from sagas.embedded import embedded as embedded
    from sagas.engine.context import heartbeat as heartbeat
    from sagas.engine.context import step as step
    from sagas.errors import ActivityFailed as ActivityFailed
    from sagas.errors import ActivityTimeout as ActivityTimeout
    from sagas.errors import ArgumentMismatch as ArgumentMismatch
    from sagas.errors import CallbackDone as CallbackDone
    from sagas.errors import CodecError as CodecError
    from sagas.errors import DefinitionError as DefinitionError
    from sagas.errors import DeterminismWarning as DeterminismWarning
    from sagas.errors import HistoryError as HistoryError
    from sagas.errors import InvalidArgument as InvalidArgument
    from sagas.errors import NondeterminismError as NondeterminismError
    from sagas.errors import NotInSaga as NotInSaga
    from sagas.errors import Overloaded as Overloaded
    from sagas.errors import PayloadError as PayloadError
    from sagas.errors import Permanent as Permanent
    from sagas.errors import QueryFailed as QueryFailed
    from sagas.errors import ReadOnlyError as ReadOnlyError
    from sagas.errors import Rejected as Rejected
    from sagas.errors import SagaAlreadyStarted as SagaAlreadyStarted
    from sagas.errors import SagaCancelled as SagaCancelled
    from sagas.errors import SagaClosed as SagaClosed
    from sagas.errors import SagaError as SagaError
    from sagas.errors import SagaFailed as SagaFailed
    from sagas.errors import SagaNotFound as SagaNotFound
    from sagas.errors import SagaParked as SagaParked
    from sagas.errors import SagaRunning as SagaRunning
    from sagas.errors import SagaTerminated as SagaTerminated
    from sagas.errors import SagaTimedOut as SagaTimedOut
    from sagas.errors import StepError as StepError
    from sagas.errors import StoreUnavailable as StoreUnavailable
    from sagas.errors import UnsafeStore as UnsafeStore
    from sagas.errors import UpdateFailed as UpdateFailed
    from sagas.errors import UpdateRejected as UpdateRejected
    from sagas.handle import Handle as Handle
    from sagas.kernel.activity import activity as activity
    from sagas.kernel.attributes import set_attributes as set_attributes
    from sagas.kernel.callback import Callback as Callback
    from sagas.kernel.callback import callback as callback
    from sagas.kernel.child import Child as Child
    from sagas.kernel.child import child as child
    from sagas.kernel.continuing import continue_as_new as continue_as_new
    from sagas.kernel.flow import info as info
    from sagas.kernel.flow import logger as logger
    from sagas.kernel.flow import now as now
    from sagas.kernel.flow import random as random
    from sagas.kernel.flow import sleep as sleep
    from sagas.kernel.flow import sleep_until as sleep_until
    from sagas.kernel.flow import uuid4 as uuid4
    from sagas.kernel.flow import wait_until as wait_until
    from sagas.kernel.handlers import query as query
    from sagas.kernel.handlers import signal as signal
    from sagas.kernel.handlers import update as update
    from sagas.kernel.middleware import ActivityCall as ActivityCall
    from sagas.kernel.middleware import ClientCall as ClientCall
    from sagas.kernel.middleware import Middleware as Middleware
    from sagas.kernel.middleware import Next as Next
    from sagas.kernel.middleware import SagaRun as SagaRun
    from sagas.kernel.middleware import use as use
    from sagas.kernel.outgoing import instance as instance
    from sagas.kernel.patching import patched as patched
    from sagas.kernel.resources import RayResources as RayResources
    from sagas.kernel.saga import saga as saga
    from sagas.kernel.scope import compensating as compensating
    from sagas.kernel.state import Status as Status
    from sagas.kernel.unguarded import unguarded as unguarded
    from sagas.kernel.worker_start import on_worker_start as on_worker_start
    from sagas.letters import DeadLetter as DeadLetter
    from sagas.payloads.sealing import Codec as Codec
    from sagas.payloads.sealing import use_codec as use_codec
    from sagas.sync import SyncClient as SyncClient
    from sagas.sync import SyncHandle as SyncHandle
    from sagas.sync import connect_sync as connect_sync
    from sagas.workers import Workers as Workers

_ORIGIN = {
    "compensations": ("Compensation", "Outcome", "Retry"),
    "sagas.client": ("Client",),
    "sagas.handle": ("Handle",),
    "sagas.cluster": ("up",),
    "sagas.connection": ("connect",),
    "sagas.description": ("Description",),
    "sagas.deleting": ("Erasure",),
    "sagas.embedded": ("embedded",),
    "sagas.engine.context": ("heartbeat", "step"),
    "sagas.errors": (
        "ActivityFailed",
        "ActivityTimeout",
        "ArgumentMismatch",
        "CallbackDone",
        "CodecError",
        "DefinitionError",
        "DeterminismWarning",
        "HistoryError",
        "InvalidArgument",
        "NondeterminismError",
        "NotInSaga",
        "Overloaded",
        "PayloadError",
        "Permanent",
        "QueryFailed",
        "ReadOnlyError",
        "Rejected",
        "SagaAlreadyStarted",
        "SagaCancelled",
        "SagaClosed",
        "SagaError",
        "SagaFailed",
        "SagaNotFound",
        "SagaParked",
        "SagaRunning",
        "SagaTerminated",
        "SagaTimedOut",
        "StepError",
        "StoreUnavailable",
        "UnsafeStore",
        "UpdateFailed",
        "UpdateRejected",
    ),
    "sagas.kernel.activity": ("activity",),
    "sagas.kernel.attributes": ("set_attributes",),
    "sagas.kernel.child": ("Child", "child"),
    "sagas.kernel.callback": ("Callback", "callback"),
    "sagas.kernel.continuing": ("continue_as_new",),
    "sagas.kernel.flow": ("info", "logger", "now", "random", "sleep", "sleep_until", "uuid4", "wait_until"),
    "sagas.kernel.handlers": ("query", "signal", "update"),
    "sagas.kernel.middleware": ("ActivityCall", "ClientCall", "Middleware", "Next", "SagaRun", "use"),
    "sagas.kernel.outgoing": ("instance",),
    "sagas.kernel.patching": ("patched",),
    "sagas.kernel.resources": ("RayResources",),
    "sagas.kernel.saga": ("saga",),
    "sagas.kernel.scope": ("compensating",),
    "sagas.kernel.state": ("Status",),
    "sagas.kernel.worker_start": ("on_worker_start",),
    "sagas.kernel.unguarded": ("unguarded",),
    "sagas.payloads.sealing": ("Codec", "use_codec"),
    "sagas.letters": ("DeadLetter",),
    "sagas.sync": ("SyncClient", "SyncHandle", "connect_sync"),
    "sagas.workers": ("Workers",),
}
_FROM = {name: module for module, names in _ORIGIN.items() for name in names}

__all__ = [*sorted(_FROM), "testing"]  # noqa: PLE0604  # one table names what is public, and where it lives


def __getattr__(name: str) -> Any:
    if name == "testing":
        return importlib.import_module("sagas.testing")
    if name not in _FROM:
        raise AttributeError(f"module 'sagas' has no attribute {name!r}")
    found = getattr(importlib.import_module(_FROM[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
