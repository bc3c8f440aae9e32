"""``sagas.up()``: hosts and workers as Ray actors, on the Ray that is there or on a local one.

This is the one door from ``sagas`` to ``actors`` (and so to Ray); it is imported when it is called.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sagas.errors import DefinitionError, InvalidArgument
from sagas.kernel.registry import Registry
from sagas.modules import load_modules
from sagas.server.url import resolve_url

if TYPE_CHECKING:
    from actors.cluster import Cluster

_OURS = ("actors", "compensations")


def up(
    modules: Iterable[ModuleType | str],
    url: str | None = None,
    *,
    hosts: int = 2,
    workers: int = 4,
    namespace: str = "default",
    queues: tuple[str, ...] = ("default",),
) -> Cluster:
    """Start hosts and workers on Ray; returns once they are up.

    ``modules``: where sagas and activities are declared, as dotted names or modules; every process imports them
    itself. ``url``: the Redis, else SAGAS_URL, else what ``sagas dev`` left. Ray: the one this process is connected to,
    else the one at RAY_ADDRESS, else a local one of its own that ``down()`` ends.
    Raises: DefinitionError, InvalidArgument, StoreUnavailable, UnsafeStore.
    """
    check_not_shadowed()
    names = tuple(_importable(module) for module in load_modules(modules))
    if not names:
        raise InvalidArgument("up() needs modules=[...]: the modules that declare your sagas and activities")
    Registry(load_modules(names))  # two types of one name are refused here, before anything is started
    owns_ray = _connect_ray()
    from actors.cluster import Cluster
    from actors.settings import ClusterSettings

    settings = ClusterSettings(url=resolve_url(url), modules=names, namespace=namespace, queues=queues)
    cluster = Cluster(settings, owns_ray)
    try:
        cluster.scale(hosts, workers)
    except BaseException:
        cluster.down()
        raise
    return cluster


def check_not_shadowed() -> None:
    """Raises: DefinitionError when a module of the user's stands where Python would look for ``actors`` first."""
    ours = Path(__file__).resolve().parent.parent
    for name in _OURS:
        spec = PathFinder.find_spec(name, [entry or os.getcwd() for entry in sys.path])
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if found is not None and found.parent.parent != ours:
            raise DefinitionError(
                f"{found} shadows the package {name!r} of this library: rename your module, or move it into a package"
            )


def _importable(module: ModuleType) -> str:
    if module.__name__ == "__main__":
        raise InvalidArgument("sagas in __main__ cannot be imported by other processes: move them into a module")
    return module.__name__


def _connect_ray() -> bool:
    """Connect to Ray if this process is not; True when that started a local one of our own."""
    # Inherited by every process of a local Ray: sets of strings have one order everywhere, and nobody else may join.
    # Before Ray is imported, because it reads its token then.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    if ray.is_initialized():
        return False
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
        return False
    hash_seed = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "0"
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
    finally:
        if hash_seed is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = hash_seed
    return True
