"""``sagas dev``, ``up`` and ``down``: hosts and workers on Ray; for ``dev`` also a Redis and the HTTP API.

Law: everything that can be wrong on the command line is seen before anything is started; what was started here is taken
down here, in the opposite order.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from sagas.cli.foreground import endings_as_interrupts, held_back, run_until_signalled
from sagas.cli.http_command import api_beside, socket_beside
from sagas.cli.live import Live
from sagas.cli.show import say, stdout, tell
from sagas.cli.target import address_of, modules_of
from sagas.cli.verdict import OK
from sagas.cluster import check_not_shadowed
from sagas.cluster import down as cluster_down
from sagas.cluster import up as cluster_up
from sagas.connection import open_store
from sagas.errors import InvalidArgument
from sagas.kernel.registry import Registry
from sagas.server import EmbeddedServer, redact, resolve_url
from sagas.server.url import DATA

Api = Callable[[], AbstractAsyncContextManager[str]]
"""Serves the HTTP API within its block; gives where it is."""


def dev(args: argparse.Namespace) -> int:
    """Run everything in the foreground."""
    registry = _checked(args)
    with socket_beside(args.http_port) as listening, endings_as_interrupts(), _interruptible(), _server(args) as url:
        _serve(args, registry, url, lambda: api_beside(listening, url, args.namespace))
    return OK


def up(args: argparse.Namespace) -> int:
    """Run hosts and workers in the foreground, on a Redis that runs."""
    registry = _checked(args)
    url = resolve_url(args.url, args.data)
    with endings_as_interrupts(), _interruptible():
        _serve(args, registry, url)
    return OK


def down(args: argparse.Namespace) -> int:
    """Stop what was left running."""
    if args.data is None and not os.environ.get("RAY_ADDRESS"):
        raise InvalidArgument(
            "nothing to stop is named: set RAY_ADDRESS for the hosts and workers there, or --data FOLDER for the Redis "
            "on it. What `sagas dev` and `sagas up` run on a Ray of their own ends with them (Ctrl-C)"
        )
    if os.environ.get("RAY_ADDRESS"):
        found = cluster_down(args.namespace)
        say(f"sagas: hosts and workers of namespace {args.namespace!r}: {'stopped' if found else 'there were none'}")
    if args.data is not None:
        server = EmbeddedServer.attach(args.data)
        if server is not None:
            server.stop(force=True)
        say(f"sagas: the Redis on {args.data}: {'there was none' if server is None else 'stopped'}")
    return OK


def _checked(args: argparse.Namespace) -> Registry:
    """What the modules declare. Raises: DefinitionError, InvalidArgument."""
    check_not_shadowed()
    registry = Registry(modules_of(args.modules))
    if not registry.saga_names:
        say("sagas: these modules declare activities but no saga; hosts will run none")
    return registry


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is how these commands end: no error. (Ray turns a SIGTERM that comes while it starts into SystemExit.)"""
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        yield
    tell("stopped")


@contextlib.contextmanager
def _server(args: argparse.Namespace) -> Iterator[str]:
    """The Redis the operator named, else our own on the data folder."""
    url = args.url or os.environ.get("SAGAS_URL")
    if url:
        yield url
        return
    with EmbeddedServer.start(args.data, die_with_parent=True) as server:
        tell(f"redis    pid {server.pid}, {'started' if server.owned else 'ran already'}; its data is in {server.data}")
        yield server.url


def _serve(args: argparse.Namespace, registry: Registry, url: str, api: Api | None = None) -> None:
    """Bring the cluster up, show what happens until a signal, take it down."""
    ray = os.environ.get("RAY_ADDRESS")
    tell(f"ray      {f'connecting to {ray}' if ray else 'starting one of its own'}; this takes a few seconds ...")
    with contextlib.ExitStack() as stack:
        with held_back(lambda: tell("stopping as soon as Ray has started; Ctrl-C again breaks it off ...")):
            cluster = cluster_up(args.modules, url, hosts=args.hosts, workers=args.workers, namespace=args.namespace)
            stack.callback(cluster.down)
        tell(f"store    {redact(url)}, namespace {args.namespace}")
        tell(f"hosts    {_pids(cluster.hosts())}")
        tell(f"workers  {_pids(cluster.workers())}")
        tell(f"sagas    {', '.join(registry.saga_names)}")
        run_until_signalled(_watch(url, args, registry, api))
        tell("stopping; Ctrl-C again breaks it off ...")


async def _watch(url: str, args: argparse.Namespace, registry: Registry, api: Api | None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        store = await open_store(url, args.namespace)
        stack.push_async_callback(store.close)
        live = Live(store, stdout())
        await live.begin()
        if api is not None:
            tell(f"http     {await stack.enter_async_context(api())}")
        tell("ready    Ctrl-C ends it; in a second terminal, in this folder:")
        for line in _next_steps(registry, _way_to(args)):
            tell(f"  {line}")
        await live.run()


def _pids(actors: list[dict[str, Any]]) -> str:
    return ", ".join(f"pid {actor['pid']}" for actor in actors)


def _way_to(args: argparse.Namespace) -> str:
    """What a client command needs on its command line to find the same instances."""
    words = ""
    if args.url:
        words = f" --url '{redact(args.url)}'"
    elif args.data != DATA:
        words = f" --data {args.data}"
    return words if args.namespace == "default" else f"{words} --namespace {args.namespace}"


def _next_steps(registry: Registry, options: str) -> list[str]:
    """What to type next; a function is the better first try, since a class mostly waits for signals."""
    types = [found for name in registry.saga_names if (found := registry.saga(name)) is not None]
    first = sorted(types, key=lambda found: found.is_class)[:1]
    return [*(f"sagas execute {address_of(found)}{options}" for found in first), f"sagas list{options}"]
