"""Shards that a failover takes back under their owner: what was acknowledged is there again, as if nothing had been."""

from __future__ import annotations

import pytest

from tests.simulation.faulty_store import Faults
from tests.simulation.simulator import Simulation


@pytest.mark.parametrize("seed", range(3000, 3005))
def test_every_saga_ends_as_it_must_though_its_shard_goes_back(seed: int) -> None:
    simulation = Simulation(seed, Faults(before_write=0.05, after_write=0.05, reads=0.05, rewind=0.3), chaos=False)
    simulation.play()
    assert simulation.store.injected["rewind"] > 0
