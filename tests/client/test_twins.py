"""Every public call of the client and the handle has a blocking twin of the same parameters: none can be forgotten."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import pytest

from sagas import Client, Handle, SyncClient, SyncHandle

TWINS = ((Client, SyncClient), (Handle, SyncHandle))


def methods(cls: type) -> list[str]:
    """A property is none: it is there for ways in that are asynchronous themselves."""
    return [name for name, member in vars(cls).items() if inspect.isfunction(member) and not name.startswith("_")]


METHODS = [pytest.param(cls, twin, name, id=f"{cls.__name__}.{name}") for cls, twin in TWINS for name in methods(cls)]


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any, Any]]:
    """Name, kind, default and annotation of each; annotations as they are written."""
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default, each.annotation) for each in found]


@pytest.mark.parametrize(("cls", "twin"), TWINS)
def test_the_same_methods(cls: type, twin: type) -> None:
    assert set(methods(twin)) == set(methods(cls))


@pytest.mark.parametrize(("cls", "twin", "name"), METHODS)
def test_the_same_parameters_and_none_to_await(cls: type, twin: type, name: str) -> None:
    theirs, ours = getattr(cls, name), getattr(twin, name)
    assert parameters(ours) == parameters(theirs)
    assert [parameters(each) for each in typing.get_overloads(ours)] == [
        parameters(each) for each in typing.get_overloads(theirs)
    ]
    assert not inspect.iscoroutinefunction(ours)
    assert not inspect.isasyncgenfunction(ours)


@pytest.mark.parametrize(("cls", "twin", "name"), METHODS)
def test_the_same_results(cls: type, twin: type, name: str) -> None:
    returned = inspect.signature(getattr(cls, name)).return_annotation
    blocking = returned.replace("Handle[", "SyncHandle[").replace("AsyncIterator[", "Iterator[")
    assert inspect.signature(getattr(twin, name)).return_annotation == blocking


def test_the_twin_is_told_of_everything_that_a_handle_is(client: SyncClient) -> None:
    theirs = vars(client._client.get("a", "r1"))
    ours = vars(client.get("a", "r1"))
    assert {name: ours.get(name) for name in theirs if not name.startswith("_")} == {"id": "a", "run_id": "r1"}
