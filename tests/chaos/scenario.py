"""What a seed does to a cluster: who is struck, after how many requests, and how far a step has come at that moment.

Law: drawn from the seed and nothing else. What the processes do in between is theirs, so a seed repeats the blows, not
the interleaving to the last instruction.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass


class Victim(enum.StrEnum):
    HOST = "host"  # the one that owns the shard of the step
    WORKER = "worker"  # the one inside the step
    DISPATCHER = "dispatcher"
    SUPERVISOR = "supervisor"
    REDIS = "redis"  # started again on its data
    FROZEN = "frozen host"  # stopped past its lease, and woken when others own its shards


KILLED = (Victim.HOST, Victim.WORKER, Victim.DISPATCHER, Victim.SUPERVISOR, Victim.REDIS)


class Phase(enum.StrEnum):
    """How far the step has come that is under way when the blow falls."""

    ASKED = "asked"  # the request has left the worker, the services have not seen it
    DECIDED = "decided"  # the services have done it, their answer has not arrived
    REPORTED = "reported"  # the worker has its answer, the commit that records it has not reached Redis
    COMMITTED = "committed"  # it is recorded, and the host does not know yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """``after``: requests since the last blow.

    ``linger``: requests of others before the step may go on; connections refused before Redis is started again.
    """

    victim: Victim
    after: int
    phase: Phase
    linger: int

    def __str__(self) -> str:
        return f"{self.victim} at {self.phase}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``subscribers`` of all fates in the first wave; more waves of them follow while blows are left."""

    seed: int
    strikes: tuple[Strike, ...]
    subscribers: int = 40

    @staticmethod
    def draw(seed: int, victims: tuple[Victim, ...] | None = None) -> Scenario:
        """Every kind of process once, one of them twice, and at every third seed a frozen host; or just ``victims``."""
        dice = random.Random(seed)
        chosen = [*KILLED, dice.choice(KILLED)] if victims is None else list(victims)
        if victims is None and dice.randrange(3) == 0:
            chosen.append(Victim.FROZEN)
        dice.shuffle(chosen)
        return Scenario(seed=seed, strikes=tuple(_strike(dice, victim) for victim in chosen))


def _strike(dice: random.Random, victim: Victim) -> Strike:
    # A host that sleeps sends nothing, so the step it sleeps through is one that the services have decided.
    phase = Phase.DECIDED if victim is Victim.FROZEN else dice.choice(tuple(Phase))
    return Strike(victim=victim, after=dice.randint(10, 60), phase=phase, linger=dice.choice((0, 5, 20)))
