"""``sagas start``, ``execute`` and ``result``: begin a run, and wait for its end."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sagas.cli.arguments import attributes_of, fitted, value_of
from sagas.cli.show import print_json, print_value, say
from sagas.cli.store import no_host, opened
from sagas.cli.target import saga_of
from sagas.cli.verdict import OK
from sagas.client import Client
from sagas.handle import Handle
from sagas.kernel.saga import saga_type_of
from sagas.store.port import Store


def start(args: argparse.Namespace) -> int:
    """Start a saga and print its id."""

    async def run() -> Handle[Any]:
        begin = _starter(args)
        async with opened(args) as (client, store):
            handle = await begin(client)
            await _warn(store, args)
            return handle

    handle = asyncio.run(run())
    if args.json:
        print_json({"id": handle.id, "run_id": handle.run_id})
    else:
        print(handle.id)
    return OK


def execute(args: argparse.Namespace) -> int:
    """Start a saga, wait, print its result."""

    async def run() -> Any:
        begin = _starter(args)
        async with opened(args) as (client, store):
            handle = await begin(client)
            await _warn(store, args)
            return await _ended(Handle(client.access, handle.id, handle.run_id, None, follows=True), args)

    print_value(asyncio.run(run()), json=args.json)
    return OK


def result(args: argparse.Namespace) -> int:
    """Wait for the end of a saga, print its result."""

    async def run() -> Any:
        async with opened(args) as (client, _store):
            return await _ended(client.get(args.id, args.run), args)

    print_value(asyncio.run(run()), json=args.json)
    return OK


def _starter(args: argparse.Namespace) -> Callable[[Client], Awaitable[Handle[Any]]]:
    """What starts the saga; everything that can be wrong on the command line is seen before the store is opened."""
    options = {
        "id": args.id,
        "on_conflict": args.on_conflict,
        "on_reuse": args.on_reuse,
        "attributes": attributes_of(args.attributes),
        "start_delay": args.delay,
    }
    if ":" not in args.type:
        values = tuple(map(value_of, args.args))
        return lambda client: client.start_by_name(args.type, *values, **options)
    saga = saga_of(args.type)
    fitting = fitted(saga_type_of(saga).arguments, args.args)
    return lambda client: client.start(saga, *fitting, **options)


async def _warn(store: Store, args: argparse.Namespace) -> None:
    if missing := await no_host(store, args.namespace):
        say(f"sagas: accepted, but {missing}")


async def _ended(handle: Handle[Any], args: argparse.Namespace) -> Any:
    """The result as plain values: the handle of an id knows no saga type, so nothing is built from it."""
    try:
        return await handle.result(args.timeout)
    except TimeoutError:
        raise TimeoutError(
            f"saga {handle.id!r} has not ended within {args.timeout:g} s; it goes on: "
            f"`sagas describe {handle.id}` says what it waits for"
        ) from None
    except asyncio.CancelledError:
        say(f"sagas: saga {handle.id!r} goes on; `sagas result {handle.id}` waits for it again")
        raise
