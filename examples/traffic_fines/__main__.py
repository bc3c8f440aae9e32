"""Runs the replay and prints the report; exits with 1 when a fine came out wrong."""

from __future__ import annotations

import argparse
import asyncio

import sagas
from examples.traffic_fines.driver import Report, drive, verify, wall_clock
from examples.traffic_fines.log import in_date_order, read_log
from examples.traffic_fines.pace import Pace, squeezed


async def in_virtual_time() -> Report:
    """The whole log in virtual time, in this process."""
    events = list(in_date_order(read_log()))
    async with sagas.testing.environment(start=events[0].at) as env:
        return verify(await drive(env.client, events, env.advance_to, Pace()), events)


async def on_a_cluster(url: str | None, ms_per_day: float) -> Report:
    """The log squeezed, on hosts that were given ``examples.traffic_fines.saga``."""
    events = list(in_date_order(read_log()))
    async with await sagas.connect(url) as client:
        return verify(await drive(client, events, wall_clock, squeezed(events[0].at, ms_per_day)), events)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.traffic_fines", description=__doc__)
    parser.add_argument("--ms-per-day", type=float, help="replay on a running cluster at this pace")
    parser.add_argument("--url", help="the cluster's Redis; else as sagas.connect() finds it")
    options = parser.parse_args()
    run = in_virtual_time() if options.ms_per_day is None else on_a_cluster(options.url, options.ms_per_day)
    report = asyncio.run(run)
    print("\n".join(report.lines()))
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
