"""``continue_as_new(*args)``: the run ends here, and another of the same instance begins with these arguments.

Law: the next run begins in the commit that closes this one. A message is handled in one run: by this one if its handler
has begun by the time of the call (which ends with the run), else by the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sagas.errors import DefinitionError
from sagas.kernel.chain import next_run_id
from sagas.kernel.current import current
from sagas.kernel.events import RunContinued
from sagas.kernel.scope import current_scope

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance


class ContinueAsNew(BaseException):
    """On its way out of ``run``; nobody else catches it."""

    def __init__(self, instance: Instance, args: tuple[Any, ...]) -> None:
        super().__init__("continue_as_new()")
        self._instance = instance
        self._args = args

    def end(self) -> RunContinued:
        """How the run ends, its handlers being through. Raises: ArgumentMismatch, PayloadError."""
        encoded = self._instance.saga_type.arguments.encode(self._args, {})
        return RunContinued(encoded, next_run_id(self._instance.started.run_id))


def continue_as_new(*args: Any) -> NoReturn:
    """End this run well, and begin the instance's next one with ``args``, as ``start`` would: its history begins anew.

    Never returns. Handlers that still run are finished first (what they do to a list that is passed on is passed on);
    messages that were not handled go to the next run, and so do attributes, what is left of the timeout, and the
    parent. What else is open is given up as if ``run`` returned. A handle from ``start()`` follows. For ``run`` itself
    to call, outside ``compensating()``: what a block may have to undo would be forgotten.
    Raises: DefinitionError anywhere else; ArgumentMismatch, PayloadError; NotInSaga.
    """
    instance = current("sagas.continue_as_new()")
    instance.check_writable("continue as new")
    if not instance.in_run:
        raise DefinitionError("continue_as_new() is for run() itself: let it wait for what a handler or a task says")
    if current_scope() is not None:
        raise DefinitionError("continue_as_new() inside compensating() would forget its undos: leave the block first")
    asked = ContinueAsNew(instance, args)
    asked.end()  # what cannot be passed on is refused here
    instance.move_messages()
    raise asked


def asked_by(error: BaseException) -> ContinueAsNew | None:
    """What asked to continue, of what comes out of ``run``; a TaskGroup makes a group of it."""
    if isinstance(error, ContinueAsNew):
        return error
    if isinstance(error, BaseExceptionGroup):
        asked = [asked_by(each) for each in error.exceptions]
        return asked[0] if None not in asked else None
    return None
