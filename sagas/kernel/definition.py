"""What is wrong with a saga before it ever runs, read from its source.

Law: refused is only what no saga can be right to call (``forbidden.py``), and only where the name surely means that: a
name that is bound in the function itself is left alone, any other is looked up where Python would look. Iterating over
a set while waiting is only warned of: sets of numbers have one order. No source (a REPL, ``exec``), no opinion.

Read are ``run``, handlers and ``__init__``, and the methods of ``self`` that they call; not functions elsewhere, which
activities may share: those the engine's guard watches when they run. What asyncio refuses by itself (``to_thread``) is
left to it: code may catch that, and go on. A line that ends in ``# sagas: unguarded`` is not looked at, nor is the
inside of ``with sagas.unguarded()``.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import dis
import inspect
import linecache
import sys
import textwrap
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

from sagas.errors import DefinitionError, DeterminismWarning
from sagas.kernel.forbidden import BARE, UNWATCHED, WATCHED
from sagas.kernel.handlers import Handler
from sagas.kernel.unguarded import unguarded

FORBIDDEN = WATCHED | UNWATCHED
_PASS = "# sagas: unguarded"
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_LAST_NAMES = {name.rpartition(".")[2] for name in (*FORBIDDEN, *BARE)} | {"set", "frozenset"}
_MAKE_SETS = {dis.opmap["BUILD_SET"], dis.opmap["SET_ADD"]}


def check_function(saga: str, function: Callable[..., Any]) -> None:
    """Raises: DefinitionError when the saga's function calls what it never can."""
    source = _Source.of(function)
    _refuse(saga, [] if source is None else list(source.findings()))


def check_class(saga: str, cls: type, handlers: Iterable[Handler]) -> None:
    """Raises: DefinitionError when a method that runs in an activation calls what it never can."""
    found, seen = list(_factories(cls)), set[object]()
    methods = {name for base in cls.__mro__[:-1] for name, member in vars(base).items() if inspect.isfunction(member)}
    pending: list[Any] = [inspect.getattr_static(cls, name, None) for name in ("__init__", "__post_init__", "run")]
    pending += [function for handler in handlers for function in (handler.function, handler.validator)]
    while pending:
        method = pending.pop()
        if isinstance(method, types.FunctionType) and method not in seen:
            seen.add(method)
            if (source := _Source.of(method, methods)) is not None:
                found += source.findings()
                pending += [inspect.getattr_static(cls, name, None) for name in source.called_on_self()]
    _refuse(saga, found)


def _refuse(saga: str, found: list[str]) -> None:
    if found:
        raise DefinitionError(
            f"saga {saga!r} cannot run: "
            + "; ".join(found)
            + ". What cannot change what it decides may stand in `with sagas.unguarded():`"
        )


def _factories(cls: type) -> Iterator[str]:
    """Defaults of a dataclass are made when a run starts, and again in each of its replays."""
    known = _known_objects()
    for field in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
        if (name := known.get(id(field.default_factory))) is not None:
            yield f"{cls.__name__}.{field.name} has default_factory={name}, that is {FORBIDDEN[name]}"


def _known_objects() -> dict[int, str]:
    """The forbidden names by the identity of what they mean; what was never imported nobody can hold."""
    known: dict[int, str] = {}
    for name in FORBIDDEN:
        module, _, last = name.rpartition(".")
        owner = sys.modules.get(module or "builtins")
        found = None if owner is None else vars(owner).get(last)
        if found is not None:
            known[id(found)] = name
            known[id(getattr(found, "__wrapped__", found))] = name  # the engine's guard may stand in its place
    return known


class _Source:
    """One function: its tree, and what its names mean."""

    def __init__(
        self,
        function: types.FunctionType,
        tree: _Function,
        lines: list[str],
        first: int,
        known: dict[int, str],
    ) -> None:
        self._function = function
        self._tree = tree
        self._lines = lines
        self._first = first
        self._closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        self._known = known
        self._imported: dict[str, str] = {}
        self._bound: set[str] = set()
        for node in ast.walk(tree):
            self._bind(node)

    @classmethod
    def of(cls, function: Callable[..., Any], methods: Set[str] = frozenset()) -> _Source | None:
        """The source of a function; None where it cannot be had, or nothing in it can matter.

        ``methods``: names that matter too.
        """
        plain, known = inspect.unwrap(function), _known_objects()
        if not isinstance(plain, types.FunctionType) or not _is_worth_reading(plain, known, methods):
            return None
        first = plain.__code__.co_firstlineno
        lines = linecache.getlines(plain.__code__.co_filename, plain.__globals__)[
            first - 1 : _last_line(plain.__code__)
        ]
        try:
            tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
        except (SyntaxError, IndexError):
            return None
        # Edited since it was imported, the file may hold something else at this place.
        if isinstance(tree, _Function) and tree.name == plain.__name__:
            return cls(plain, tree, lines, first, known)
        return None

    def findings(self) -> Iterator[str]:
        """What it calls and never can, in words; sets that it iterates over are warned of on the way."""
        for statement in self._tree.body:
            yield from self._visit(statement)

    def called_on_self(self) -> set[str]:
        """Names of the methods that are called on its first parameter."""
        code = self._function.__code__
        own = code.co_varnames[0] if code.co_argcount else ""
        calls = [node.func for node in ast.walk(self._tree) if isinstance(node, ast.Call)]
        on_self = [f for f in calls if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name)]
        return {f.attr for f in on_self if f.value.id == own}  # type: ignore[attr-defined]

    def _bind(self, node: ast.AST) -> None:
        match node:
            case ast.Import():
                self._imported |= {
                    each.asname or each.name.partition(".")[0]: each.name
                    if each.asname
                    else each.name.partition(".")[0]
                    for each in node.names
                }
            case ast.ImportFrom(module=str(module), level=0):
                self._imported |= {each.asname or each.name: f"{module}.{each.name}" for each in node.names}
            case ast.Name(ctx=ast.Store() | ast.Del()):
                self._bound.add(node.id)
            case ast.arg():
                self._bound.add(node.arg)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self._bound.add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if node is not self._tree:
                self._bound.add(node.name)

    # --- looking

    def _visit(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.decorator_list:
            return  # maybe an activity
        if isinstance(node, ast.With) and any(self._lets_pass(item.context_expr) for item in node.items):
            return
        if isinstance(node, ast.Call) and not self._is_passed(node):
            yield from self._call(node)
        for iterated in _iterated_while_waiting(node):
            if self._is_set(iterated) and not self._is_passed(iterated):
                self._warn(iterated)
        for child in ast.iter_child_nodes(node):
            yield from self._visit(child)

    def _call(self, call: ast.Call) -> Iterator[str]:
        name = self._dotted(call.func)
        if name in FORBIDDEN:
            yield self._said(call, name, FORBIDDEN[name])
        elif name in BARE and not call.args and not call.keywords:
            yield self._said(call, name, BARE[name])

    def _said(self, node: ast.expr, name: str, instead: str) -> str:
        return f"{self._function.__qualname__} calls {name}() ({self._place(node)}), that is {instead}"

    def _place(self, node: ast.expr) -> str:
        return f"{self._function.__code__.co_filename}, line {self._line(node)}"

    def _line(self, node: ast.expr) -> int:
        return self._first + node.lineno - 1

    def _is_passed(self, node: ast.expr) -> bool:
        lines = self._lines[node.lineno - 1 : node.end_lineno]
        return any(_PASS in line for line in lines)

    def _lets_pass(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Call):
            return False
        return self._object(node.func) is unguarded or self._dotted(node.func) == "sagas.unguarded"

    # --- what a name means

    def _dotted(self, node: ast.expr) -> str | None:
        """The name under which ``forbidden.py`` would know it; None where nobody can tell."""
        match node:
            case ast.Name(id=name):
                if name in self._imported and name not in self._bound:
                    return self._imported[name]
                found = self._object(node)
                return name if found is getattr(builtins, name, self) else self._known.get(id(found)) or _path_of(found)
            case ast.Attribute(value=owner, attr=attr):
                path = self._dotted(owner)
                whole = None if path is None else f"{path}.{attr}"
                return (
                    whole if whole in FORBIDDEN or whole in BARE else self._known.get(id(self._object(node))) or whole
                )
        return None

    def _object(self, node: ast.expr) -> object:
        """What it evaluates to, if that is a name, or an attribute of a module; None where nobody can tell."""
        match node:
            case ast.Name(id=name) if name not in self._bound and name not in self._imported:
                if name in self._closure:
                    return _content(self._closure[name])
                known = self._function.__globals__
                return known[name] if name in known else getattr(builtins, name, None)
            case ast.Attribute(value=owner, attr=attr):
                of = self._object(owner)
                if isinstance(of, types.ModuleType):  # and nothing else: an attribute of an object may run code
                    return vars(of).get(attr) or (getattr(of, attr, None) if of.__name__ == "sagas" else None)
        return None

    # --- sets

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set(elts=elements):
                return not all(isinstance(each, ast.Constant) and isinstance(each.value, int) for each in elements)
            case ast.SetComp():
                return True
            case ast.Call(func=function):
                return self._object(function) in (set, frozenset)
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
                return self._is_set(left) or self._is_set(right)
        return False

    def _warn(self, node: ast.expr) -> None:
        warnings.warn_explicit(
            f"{self._function.__qualname__} waits while it iterates over a set, which may have another order in every "
            "process, so that its replay parts from its history: iterate over sorted(...), or over a list",
            DeterminismWarning,
            self._function.__code__.co_filename,
            self._line(node),
        )


def _iterated_while_waiting(node: ast.AST) -> Iterator[ast.expr]:
    """What ``node`` iterates over where the order decides in which order something is waited for."""
    match node:
        case ast.For(iter=iterated, body=body) if any(_waits(each) for each in body):
            yield iterated
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp() if _waits(node):
            yield from (each.iter for each in node.generators)
        case ast.Call(args=args):
            for each in args:
                match each:
                    case ast.Starred(value=ast.ListComp(generators=of) | ast.GeneratorExp(generators=of)):
                        yield from (generator.iter for generator in of)
                    case ast.Starred(value=value):
                        yield value


def _is_worth_reading(function: types.FunctionType, known: dict[int, str], methods: Set[str]) -> bool:
    """Whether its bytecode could mean any of what is looked for: reading a source takes a hundred times as long."""
    pending, cells = [function.__code__], function.__closure__ or ()
    while pending:
        code = pending.pop()
        if not (_LAST_NAMES | methods).isdisjoint(code.co_names) or not _MAKE_SETS.isdisjoint(code.co_code[::2]):
            return True
        if any(id(function.__globals__.get(name)) in known for name in code.co_names):
            return True
        if any(isinstance(each, frozenset) for each in code.co_consts):
            return True
        pending += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return any(id(_content(cell)) in known for cell in cells)


def _last_line(code: types.CodeType) -> int:
    """As ``inspect.getsource`` would find it, without taking every word of the source apart."""
    inner = (_last_line(each) for each in code.co_consts if isinstance(each, types.CodeType))
    ends = (end for _, end, _, _ in code.co_positions() if end is not None)
    return max(code.co_firstlineno, *inner, *ends)


def _waits(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Await | ast.AsyncFor | ast.AsyncWith) for each in ast.walk(node))


def _path_of(found: object) -> str | None:
    if isinstance(found, types.ModuleType):
        return found.__name__
    return f"{found.__module__}.{found.__qualname__}" if isinstance(found, type | types.FunctionType) else None


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None
