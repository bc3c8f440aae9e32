"""``sagas.up()``: hosts and workers as Ray actors, on the Ray that is there or on a local one.

This is the one door from ``sagas`` to ``actors`` (and so to Ray); it is imported when it is called.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sagas.errors import DefinitionError, InvalidArgument
from sagas.kernel.registry import Registry
from sagas.modules import load_modules
from sagas.server.url import resolve_url
from sagas.workers import Workers, queues_of

if TYPE_CHECKING:
    from actors.cluster import Cluster

_OURS = ("actors", "compensations", "sagas")
_BEYOND_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's setting for being reached from other machines; it counts on Linux too, whatever its name says."""
_ESSAY = "A worker died or was killed while executing"
_LOCAL = {
    _BEYOND_LOOPBACK: "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # No essay in the user's output when an actor dies that is started again; all else at once, and as often as it came.
    "RAY_DEDUP_LOGS_SKIP_REGEX": _ESSAY,
    "RAY_DEDUP_LOGS_ALLOW_REGEX": f"(?s)^(?!.*{_ESSAY})",
    "RAY_FLUSH_DRIVER_LOGS": "1",
}
"""Ray's settings where it is ours: on the loopback address alone, reporting to nobody, quiet about itself."""
_KNOCK_S = 10.0


def up(
    modules: Iterable[ModuleType | str],
    url: str | None = None,
    *,
    hosts: int = 2,
    workers: int = 4,
    namespace: str = "default",
    queues: Mapping[str, Workers | int] | None = None,
    runtime_env: Mapping[str, Any] | None = None,
) -> Cluster:
    """Start hosts and workers on Ray; returns once they are up.

    Where this namespace runs on that Ray already, the same settings change only how many hosts and workers it has, and
    other ones are refused.

    ``modules``: where sagas and activities are declared, as dotted names or modules; every process imports them
    itself. ``url``: the Redis, else SAGAS_URL, else what ``sagas dev`` left. Ray: the one this process is connected to,
    else the one at RAY_ADDRESS, else a local one of its own that ``down()`` ends. ``runtime_env``: how modules reach
    the nodes of a cluster, as Ray takes it (``{"working_dir": ...}``); a local Ray finds them where this process does.
    ``workers`` are those of the default queue; others get theirs by ``queues={"gpu": Workers(count=2,
    ray={"num_gpus": 1}), "mail": 1}``.
    Raises: DefinitionError, InvalidArgument (also when the Ray at RAY_ADDRESS cannot be reached, or runs this namespace
    with other settings), StoreUnavailable, UnsafeStore.
    """
    check_not_shadowed()
    names = tuple(_importable(module) for module in load_modules(modules))
    if not names:
        raise InvalidArgument("up() needs modules=[...]: the modules that declare your sagas and activities")
    staff = queues_of(workers, queues)
    Registry(load_modules(names))  # two types of one name are refused here, before anything is started
    found_url = resolve_url(url)  # and so is a store that nobody has named
    local_ray = _connect_ray()
    from actors.cluster import Cluster
    from actors.settings import ClusterSettings

    given = None if runtime_env is None else dict(runtime_env)
    settings = ClusterSettings(url=found_url, modules=names, namespace=namespace, queues=staff, runtime_env=given)
    cluster = Cluster(settings, on_down=local_ray.stop if local_ray is not None else None)
    try:
        cluster.scale(hosts, queues={queue: each.count for queue, each in staff.items()})
    except BaseException:
        if cluster.began:  # what ran before goes on
            cluster.down()
        raise
    return cluster


def down(namespace: str = "default") -> bool:
    """End the hosts and workers of ``namespace`` on the Ray that this process is connected to, or at RAY_ADDRESS.

    Returns False when there are none. Raises: DefinitionError; InvalidArgument when that Ray cannot be reached.
    """
    check_not_shadowed()
    _connect_ray()
    from actors.cluster import end

    return end(namespace)


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


class LocalRay:
    """A Ray of our own on this machine; its folder goes with it."""

    def __init__(self) -> None:
        # A short name: Ray puts Unix sockets there, whose paths are limited to 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="sagas-ray-"))

    def start(self) -> None:
        """Returns once this process is connected to it."""
        import ray
        from ray._private import ray_constants

        # Ray looked at the environment when it was imported, and that may have been before us.
        ray_constants.ENABLE_RAY_CLUSTER = os.environ[_BEYOND_LOOPBACK] != "0"
        # Inherited by every process of a local Ray: sets of strings have one order everywhere.
        hash_seed = os.environ.get("PYTHONHASHSEED")
        os.environ["PYTHONHASHSEED"] = "0"
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=True,  # what activities print and log, for whoever writes them: the folder goes with us
                logging_level=logging.ERROR,
                _temp_dir=str(self._folder),
            )
        finally:
            if hash_seed is None:
                del os.environ["PYTHONHASHSEED"]
            else:
                os.environ["PYTHONHASHSEED"] = hash_seed

    def stop(self) -> None:
        """End its processes and remove its folder (logs too)."""
        import ray

        ray.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


def _connect_ray() -> LocalRay | None:
    """Connect to Ray if this process is not; what it started, when that is a local one of our own.

    The token is there so that nobody else on this machine may join.
    """
    # Before Ray is imported, because it reads its settings then.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    if not os.environ.get("RAY_ADDRESS"):
        for name, value in _LOCAL.items():
            os.environ.setdefault(name, value)
        if not sys.stdout.isatty():
            os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    import ray

    if ray.is_initialized():
        return None
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            _knock(address)
            ray.init(log_to_driver=False)
        except OSError as error:  # ConnectionError is one
            raise InvalidArgument(
                f"the Ray at RAY_ADDRESS={address} cannot be reached: {error}. Correct the address, start that Ray, "
                "or unset RAY_ADDRESS to get a local one"
            ) from error
        return None
    local = LocalRay()
    try:
        local.start()
    except BaseException:
        local.stop()
        raise
    return local


def _knock(address: str) -> None:
    """Raises: OSError when nobody listens at ``HOST:PORT``; Ray itself would try for minutes before it says so."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
