"""What is known of a run whose code and history part: how it stood before they did. For queries, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from sagas.errors import NondeterminismError
from sagas.kernel.events import Activated, Event
from sagas.kernel.instance import Instance
from sagas.kernel.saga import SagaType


def known_before(saga_type: SagaType, history: Sequence[Event], parted: NondeterminismError) -> Instance | None:
    """The instance as the last activation left it that the code of today repeats; None when there is none."""
    activations = [index for index, event in enumerate(history[: parted.position]) if type(event) is Activated]
    if len(activations) < 2:  # nothing ran before the activation in which they part
        return None
    try:
        return Instance.replay(saga_type, history[: activations[-1]])
    except NondeterminismError:
        return None
