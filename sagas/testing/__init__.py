"""For tests of sagas: virtual time, stand-ins, recorded histories held against code; no servers."""

from sagas.replaying import replay
from sagas.testing.environment import Environment, NothingDue, environment

__all__ = ["Environment", "NothingDue", "environment", "replay"]
