"""``patched("change-id")``: new code beside the old, for runs that began before the change.

Law: one answer a change and run. It is True where the code runs for the first time, which leaves a mark in the
history; a replay finds that mark at the same place, or answers False for ever: the run went the old way there.
"""

from __future__ import annotations

from sagas.errors import InvalidArgument
from sagas.kernel.current import current
from sagas.kernel.events import Patched


def patched(change_id: str) -> bool:
    """Whether this run takes the new branch of a change named so: new code in the ``if``, the old in the ``else``.

    A run that was already past this place takes the old one, every other run the new one; asked again, also elsewhere,
    it answers the same. Once no run without the mark goes on, the old branch and the call may go: a mark that nobody
    asks for any more is passed over. Raises: InvalidArgument when ``change_id`` is no text, or empty.
    """
    instance = current("sagas.patched()")
    if not isinstance(change_id, str) or not change_id:
        raise InvalidArgument(f"a change is named by a text that is not empty, not {change_id!r}")
    answer = instance.patches.get(change_id)
    if answer is None:
        instance.check_writable(f"ask for the first time whether it is patched with {change_id!r}")
        if instance.replaying:
            instance.pass_marks()
            answer = change_id in instance.patches
        else:
            instance.decide(Patched(change_id, at_ms=instance.now_ms))
            answer = True
        instance.patches[change_id] = answer
    return answer
