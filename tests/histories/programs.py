"""What is recorded: scenarios by name, each of which leaves the histories of the instances it returns.

To record a feature: write its saga and a ``@recorded`` scenario into the file of its theme (or a new one, named in
``THEMES``), then ``make histories``. The sagas stay as they are for ever, as sagas that run in production would: what a
later version of the library does otherwise must show here. A recording is never made anew; delete what was never
released.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from sagas import Handle
from sagas.testing import Environment

Scenario = Callable[[Environment], Awaitable[list[Handle[Any]]]]
SCENARIOS: dict[str, Scenario] = {}
THEMES = ("steps", "undoing", "waiting", "standing", "running", "family")


def recorded(scenario: Scenario) -> Scenario:
    """Make the histories of the handles that ``scenario`` returns part of the recording of its name."""
    SCENARIOS[scenario.__name__] = scenario
    return scenario


def themes() -> list[ModuleType]:
    """Every module with sagas that were recorded."""
    return [importlib.import_module(f"tests.histories.{theme}") for theme in THEMES]
