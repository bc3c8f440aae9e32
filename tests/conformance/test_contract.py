"""Every claim of the contract has a test that exists, or is said to be pending; nothing is said of other claims."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
CONTRACT = TESTS.parent / "docs" / "contract.md"


def claimed(text: str) -> list[str]:
    """The numbers of a contract's claims, in their order."""
    return re.findall(r"^- \*\*([A-Z]\d+)\*\* ", text, flags=re.MULTILINE)


@cache
def named_in(path: Path) -> frozenset[str]:
    """The names of a file's tests, without their ``test_``."""
    return frozenset(
        node.name.removeprefix("test_")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def faults(claims: list[str], table: dict[str, Any], tests: Path = TESTS) -> list[str]:
    """What is wrong with a table of claims, in words."""
    pending, held = list(table["pending"]), dict(table["claims"])
    found = [f"{claim} is there twice" for claim in sorted({each for each in claims if claims.count(each) > 1})]
    found += [f"{claim} has no test" for claim in claims if not held.get(claim) and claim not in pending]
    found += [f"{claim} is no claim of the contract" for claim in (*held, *pending) if claim not in claims]
    found += [f"{claim} is pending and has a test: take it off the list" for claim in pending if claim in held]
    for claim, names in held.items():
        for name in names:
            place, _, test = name.partition("::")
            room, _, file = place.rpartition("/")
            path = tests / room / f"test_{file}.py"
            if not path.is_file() or not (test in named_in(path) if test else named_in(path)):
                found.append(f"{claim}: there is no test {name}")
    return found


def test_every_claim_has_a_test_that_exists_or_is_pending() -> None:
    table = tomllib.loads((TESTS / "conformance" / "claims.toml").read_text())
    assert faults(claimed(CONTRACT.read_text()), table) == []


def test_what_is_wrong_with_a_table_is_found() -> None:
    claims = claimed("- **A1** One.\n- **A2** Two,\n  and **A9** is no claim here.\n- **A3** Three.\n- **A4** Four.\n")
    assert claims == ["A1", "A2", "A3", "A4"]
    itself = "conformance/contract::what_is_wrong_with_a_table_is_found"
    table = {"pending": ["A2", "A3", "B1"], "claims": {"A1": [itself, "conformance/contract"], "A2": [itself]}}
    assert faults(claims, table) == [
        "A4 has no test",
        "B1 is no claim of the contract",
        "A2 is pending and has a test: take it off the list",
    ]
    assert faults(["A1", "A1"], {"pending": [], "claims": {"A1": ["no/where", f"{itself}_not"], "C1": []}}) == [
        "A1 is there twice",
        "C1 is no claim of the contract",
        "A1: there is no test no/where",
        f"A1: there is no test {itself}_not",
    ]
