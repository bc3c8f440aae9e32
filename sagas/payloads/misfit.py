"""The inner signal that some part of a payload does not fit its annotation, and how a path to it is gathered.

Law: decoders raise only ``Misfit``; it becomes a ``PayloadError`` at the doors, and unions catch it to try the next
member. Messages name types and fields, never values: payloads are the user's data and errors end up in logs.
"""

from __future__ import annotations

from sagas.errors import PayloadError

_LONGEST = 200


class Misfit(Exception):
    """A wire value that cannot become the annotated type; ``path`` grows outwards as it passes containers."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []

    def inside(self, part: str) -> Misfit:
        """The same misfit, seen from the container in which the culprit is ``part`` (``[3]`` or ``.name``)."""
        self.path.append(part)
        return self

    def error(self, root: str) -> PayloadError:
        return PayloadError(f"{shorten(root + ''.join(reversed(self.path)))}: {self.problem}")


def unexpected(expected: str, raw: object) -> Misfit:
    return Misfit(
        f"expected {expected}, found {describe(raw)}; send the annotated type, or annotate the type that was sent"
    )


def refused(owner: str, error: Exception) -> Misfit:
    """A constructor or validator of the user's raised ``error``."""
    misfit = Misfit(f"{owner} refused the value: {type(error).__name__}: {error}")
    misfit.__cause__ = error
    return misfit


def describe(raw: object) -> str:
    """What a wire value is, without its content: its type, and for a map its first few keys."""
    if type(raw) is dict:
        keys = ", ".join(repr(key) for key in list(raw)[:8] if isinstance(key, str))
        return f"a map with keys {keys}" if keys else "a map"
    return "None" if raw is None else type(raw).__name__


def shorten(path: str) -> str:
    """A path of a deep or cyclic value, kept readable: its beginning and its end."""
    if len(path) <= _LONGEST:
        return path
    return f"{path[: _LONGEST // 2]} ... {path[-_LONGEST // 2 :]}"
