"""``python -m tests.chaos --seed 7``, or ``--seeds 20 --start 0``: kill -9 in the middle of subscriptions.

Prints a line a seed; ends with 1 when a promise was broken, and says how to play that seed again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from tests.chaos.scenario import Scenario, Victim


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--rounds", type=int, default=1, help="plays of each: a seed fixes the blows, not the rest")
    parser.add_argument("--victims", nargs="+", type=Victim, help=f"just these, of: {', '.join(Victim)}")
    asked = parser.parse_args()
    return play(asked)


def play(asked: argparse.Namespace) -> int:
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")  # that is what we are here for
    from tests.chaos.season import season  # now that Ray, which reads its settings when it is imported, will find them
    from tests.cluster.running import RunningRay

    seeds = [asked.seed] if asked.seed is not None else list(range(asked.start, asked.start + asked.seeds))
    broken: list[int] = []
    with RunningRay():
        for seed in (seed for seed in seeds for _ in range(asked.rounds)):
            verdict = asyncio.run(season(Scenario.draw(seed, asked.victims and tuple(asked.victims))))
            say(verdict.report())
            if verdict.wrong:
                broken.append(seed)
                just = f" --victims {' '.join(map(repr, map(str, asked.victims)))}" if asked.victims else ""
                say(f"  again: python -m tests.chaos --seed {seed}{just}")
    return 1 if broken else 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
