"""For tests of sagas: virtual time, stand-ins, no servers."""

from sagas.testing.environment import Environment, NothingDue, environment

__all__ = ["Environment", "NothingDue", "environment"]
