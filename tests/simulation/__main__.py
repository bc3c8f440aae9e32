"""``python -m tests.simulation --seeds 200 --start 0``: play many seeds, print those that break a promise."""

from __future__ import annotations

import argparse
import logging
import sys
import traceback

from tests.simulation.simulator import Simulation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--sagas", type=int, default=10, help="sagas a seed")
    parser.add_argument("--log", action="store_true", help="show the engine's log")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if asked.log else logging.CRITICAL)
    broken = []
    for seed in range(asked.start, asked.start + asked.seeds):
        try:
            Simulation(seed, sagas=asked.sagas).play()
        except Exception:
            broken.append(seed)
            sys.stderr.write(f"seed {seed}\n{traceback.format_exc(limit=-3)}\n")
    sys.stdout.write(f"{asked.seeds} seeds from {asked.start}, broken: {broken or 'none'}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
