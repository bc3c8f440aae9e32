"""For tests of sagas: virtual time, stand-ins, activities alone, recorded histories held against code; no servers."""

from sagas.replaying import replay
from sagas.testing.alone import StepAlone, step
from sagas.testing.environment import Environment, NothingDue, environment

__all__ = ["Environment", "NothingDue", "StepAlone", "environment", "replay", "step"]
