"""The registry: definitions by name, found by way of modules; two of one name are refused, one twice is not."""

from __future__ import annotations

import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sagas import activity, saga
from sagas.errors import DefinitionError, InvalidArgument
from sagas.kernel.activity import definitions
from sagas.kernel.registry import Registry

Shop = Callable[..., types.ModuleType]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Writes modules of a package and imports one of them: ``shop(sagas="...", activities="...")`` -> shop.sagas."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = len(definitions)
    package = f"shop_{tmp_path.name}".replace("-", "_")

    def write(**modules: str) -> types.ModuleType:
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for name, source in modules.items():
            text = textwrap.dedent(source).replace("shop", package)
            (folder / f"{name}.py").write_text("from sagas import activity, saga\n" + text)
        first = next(iter(modules))
        __import__(f"{package}.{first}")
        return sys.modules[f"{package}.{first}"]

    yield write
    del definitions[before:]
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


CHARGE = """
    @activity
    async def charge() -> None: ...
    @charge.compensation
    async def refund(result: None) -> None: ...
"""


def test_a_module_gives_its_sagas_its_activities_and_their_undos(shop: Shop) -> None:
    registry = Registry([shop(sagas=CHARGE + "    @saga\n    async def order() -> None: ...\n")])
    assert registry.saga_names == ["order"]
    assert registry.activity("charge") is not None
    undo = registry.activity("refund")
    assert undo is not None
    assert undo.undo_of == "charge"
    assert registry.saga("unknown") is None
    assert registry.activity("unknown") is None


@pytest.mark.parametrize(
    "how",
    [
        "from shop.activities import charge",
        "from shop import activities",
        "import shop.activities",
        "import shop.activities as work",
    ],
)
def test_activities_are_found_however_they_are_imported(shop: Shop, how: str) -> None:
    module = shop(sagas=f"{how}\n@saga\nasync def order() -> None: ...\n", activities=CHARGE)
    registry = Registry([module])
    assert registry.activity("charge") is not None
    assert registry.activity("refund") is not None


def test_modules_that_import_each_other_are_walked_once(shop: Shop) -> None:
    module = shop(
        sagas="import shop.other\n@saga\nasync def order() -> None: ...\n",
        other="import shop.sagas\n@saga\nasync def other() -> None: ...\n",
    )
    assert Registry([module]).saga_names == ["order", "other"]


def test_a_module_whose_definitions_came_by_way_of_another_is_no_empty_one(shop: Shop) -> None:
    module = shop(
        sagas="from shop.activities import charge\n@saga\nasync def order() -> None: ...\n", activities=CHARGE
    )
    activities = sys.modules[f"{module.__name__.rpartition('.')[0]}.activities"]
    registry = Registry([module, activities])
    assert registry.activity("charge") is not None
    Registry([activities, module, activities])


def test_a_module_that_re_exports_alone_is_no_empty_one(shop: Shop) -> None:
    module = shop(front="from shop.activities import charge, refund\n", activities=CHARGE)
    assert Registry([module]).activity("charge") is not None


def test_a_module_with_nothing_in_it_is_a_mistake(shop: Shop) -> None:
    with pytest.raises(InvalidArgument, match="holds no @saga and no @activity"):
        Registry([shop(empty="x = 1\n")])


def test_two_saga_types_of_one_name_are_refused_when_registered() -> None:
    @saga(name="order")
    async def one() -> None: ...

    @saga(name="order")
    async def two() -> None: ...

    registry = Registry()
    registry.add(one)
    registry.add(one)
    with pytest.raises(DefinitionError, match=r"two saga types are named 'order' \(.*one and .*two\)"):
        registry.add(two)
    assert registry.saga("order").target is one.function  # type: ignore[union-attr]


def test_two_activities_of_one_name_are_refused_when_registered() -> None:
    @activity(name="pay")
    async def one() -> None: ...

    @activity(name="pay")
    async def two() -> None: ...

    registry = Registry()
    registry.add(one)
    registry.add(one.options(timeout=3))
    with pytest.raises(DefinitionError, match="two activities are named 'pay'"):
        registry.add(two)


def test_an_undo_of_a_taken_name_is_refused_too() -> None:
    @activity(name="back")
    async def taken() -> None: ...

    @activity
    async def go() -> None: ...

    @go.compensation(name="back")
    async def undo(result: None) -> None: ...

    registry = Registry()
    registry.add(taken)
    with pytest.raises(DefinitionError, match="'back'"):
        registry.add(go)


def test_a_saga_and_an_activity_may_share_a_name() -> None:
    @saga(name="ship")
    async def flow() -> None: ...

    @activity(name="ship")
    async def act() -> None: ...

    registry = Registry()
    registry.add(flow)
    registry.add(act)
    assert registry.saga("ship") is not None
    assert registry.activity("ship") is act


def test_a_stand_in_takes_the_place_of_the_function_alone() -> None:
    @activity
    async def charge() -> str:
        return "real"

    async def fake() -> str:
        return "fake"

    registry = Registry()
    registry.replace(charge, fake)
    assert registry.function_of(charge) is fake
    assert registry.function_of(charge.options(timeout=1)) is fake
    assert registry.activity("charge") is charge


def test_what_is_no_definition_is_refused() -> None:
    class NotOne:
        pass

    with pytest.raises(InvalidArgument, match="put @saga on it"):
        Registry().add(NotOne)
