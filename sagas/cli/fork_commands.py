"""``sagas fork`` and ``reset``: another run from the beginning of one."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sagas.cli.show import print_json, say
from sagas.cli.store import no_host, opened
from sagas.cli.verdict import OK
from sagas.handle import Handle


def fork(args: argparse.Namespace) -> int:
    """Start the new saga and print its id."""
    return _begin(args, lambda handle: handle.fork(event=args.event, id=args.new_id))


def reset(args: argparse.Namespace) -> int:
    """Start the new run and print the id."""
    return _begin(args, lambda handle: handle.reset(event=args.event))


def _begin(args: argparse.Namespace, begin: Callable[[Handle[Any]], Awaitable[Handle[Any]]]) -> int:
    async def run() -> Handle[Any]:
        async with opened(args) as (client, store):
            begun = await begin(client.get(args.id, args.run))
            if missing := await no_host(store, args.namespace):
                say(f"sagas: {missing}")
            return begun

    handle = asyncio.run(run())
    if args.json:
        print_json({"id": handle.id, "run_id": handle.run_id})
    else:
        print(handle.id)
    return OK
