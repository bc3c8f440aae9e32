"""Runs subscribers with all sorts of fates and prints the report; exits with 1 when something came out wrong."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

import sagas
from examples.subscription.driver import Report, drive, scripts, verify
from examples.subscription.ledger import Ledger
from examples.subscription.plan import Plan
from examples.subscription.process import ServiceProcess

MONTHS = 6


async def in_virtual_time(services: ServiceProcess, users: int, seed: int) -> Report:
    """Calendar months in virtual time, in this process."""
    plan, cast = Plan(service=services.url, cents=990, months=MONTHS), scripts(users, seed=seed, months=MONTHS)
    async with sagas.testing.environment() as env:
        results = await drive(env.client, plan, cast, lambda: env.advance(days=1))
    return verify(Ledger.read(services.ledger), results, cast, plan)


async def on_a_cluster(services: ServiceProcess, users: int, seed: int) -> Report:
    """Months of a second, on hosts that were given ``examples.subscription.saga``."""
    month = timedelta(seconds=1)
    plan = Plan(service=services.url, cents=990, months=MONTHS, month=month, grace=10 * month)
    cast = scripts(users, seed=seed, months=MONTHS)
    async with await sagas.connect() as client:
        results = await drive(client, plan, cast, lambda: asyncio.sleep(0.05))
    return verify(Ledger.read(services.ledger), results, cast, plan)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.subscription", description=__doc__)
    parser.add_argument("--cluster", action="store_true", help="on the cluster that sagas.connect() finds")
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    run = on_a_cluster if options.cluster else in_virtual_time
    with tempfile.TemporaryDirectory() as folder, ServiceProcess(Path(folder) / "ledger.jsonl") as services:
        report = asyncio.run(run(services, options.users, options.seed))
    print("\n".join(report.lines()))
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
