"""What the demo stands on: a Redis, the services with their ledger, hosts and workers. All of it goes with the demo."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sagas
from examples.subscription.process import ServiceProcess
from sagas.server import EmbeddedServer

if TYPE_CHECKING:
    from actors.cluster import Cluster

MODULES = ("examples.traffic_fines.saga", "examples.subscription.saga")
HOSTS = 2
WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """``url`` is the Redis; the processes are all on this machine, so that they can be killed."""

    url: str
    services: ServiceProcess
    cluster: Cluster


@contextmanager
def ground(say: Callable[[str], None]) -> Iterator[Ground]:
    """Starts everything, and ends it however the block ends.

    Raises: StoreUnavailable, UnsafeStore, RuntimeError or OSError, each with what to do.
    """
    os.environ.pop("RAY_ADDRESS", None)  # whatever cluster it names, it is not ours to kill
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sagas-demo-")))
        server = stack.enter_context(EmbeddedServer.start(folder / "redis", die_with_parent=True))
        say(f"a Redis of our own (pid {server.pid}), every write on disk before it is acknowledged")
        services = stack.enter_context(ServiceProcess(folder / "ledger.jsonl"))
        say(f"account, payment and mail services (pid {services.pid}), which will fail on demand")
        say(f"a local Ray with {HOSTS} hosts, which run sagas, and {WORKERS} workers, which run activities ...")
        cluster = stack.enter_context(sagas.up(MODULES, server.url, hosts=HOSTS, workers=WORKERS))
        yield Ground(url=server.url, services=services, cluster=cluster)
