"""How a program must end: worked out on the program alone, without an engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation.programs import Program


@dataclass(slots=True)
class Expected:
    """``trail`` None: the run fails with the refusal ``refused``. All lists sorted."""

    trail: list[str] | None
    refused: str = ""
    effects: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)


class _Refused(Exception):
    pass


class _Walk:
    def __init__(self) -> None:
        self.trail: list[str] = []
        self.effects: list[str] = []
        self.undone: set[str] = set()

    def play(self, program: Program, scope: list[str] | None) -> None:
        for operation, *args in program:
            self.do(operation, args, scope)
            self.trail.append(operation)

    def do(self, operation: str, args: list[object], scope: list[str] | None) -> None:
        match operation, args:
            case (("step" | "undoable"), [str(what), *_]):
                self.effects.append(what)
                if scope is not None and operation == "undoable":
                    scope.append(what)
            case "refused", [str(what)]:
                raise _Refused(what)
            case "scope", [_, list(block)]:
                self.scope(block, scope)
            case "try", [list(block)]:
                try:
                    self.play(block, scope)
                except _Refused as refused:
                    self.trail.append(f"caught {refused}")
            case "child", [_, _, list(block)]:
                self.child(block)
            case "both", [list(one), list(two)]:
                self.play(one, scope)
                self.play(two, scope)

    def child(self, block: Program) -> None:
        """A saga of its own: a scope around it undoes nothing of it, and one that fails has nothing to tell."""
        before = list(self.trail)
        try:
            self.play(block, None)
        except _Refused:
            self.trail = before
            raise

    def scope(self, block: Program, outer: list[str] | None) -> None:
        members: list[str] = []
        try:
            self.play(block, members)
        except _Refused:
            self.undone.update(members)
            raise
        if outer is not None:
            outer.extend(members)


def expected(program: Program) -> Expected:
    """The end of a run of ``program`` that nobody cancels."""
    walk = _Walk()
    trail, refused = None, ""
    try:
        walk.play(program, None)
        trail = sorted(walk.trail)
    except _Refused as error:
        refused = str(error)
    standing = sorted(what for what in walk.effects if what not in walk.undone)
    return Expected(trail=trail, refused=refused, effects=sorted(walk.effects), standing=standing)
