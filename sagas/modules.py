"""Modules that a user names on a command line or in ``modules=[...]``; the only place that imports by name.

Law: names come from the operator of a process alone, never out of a store or a request.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType

from sagas.errors import InvalidArgument


def load_modules(modules: Iterable[ModuleType | str]) -> list[ModuleType]:
    """The modules, imported where they are given by name.

    Raises: InvalidArgument when one cannot be found; errors inside a module come through as they are.
    """
    return [each if isinstance(each, ModuleType) else _import(each) for each in modules]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise InvalidArgument(
            f"module {name!r} cannot be found: give its dotted name (shop.sagas, not shop/sagas.py), "
            "and start from the folder that holds it, or put that folder on PYTHONPATH"
        ) from None
