"""How often an actor's process looks for garbage.

A host keeps thousands of coroutines for long, and Python's own thresholds, made for short scripts, have it walk over
them again and again: a fifth of its time.
"""

from __future__ import annotations

import gc

_YOUNG = 20_000
"""New containers between two looks at them; a turn of a host leaves a few dozen."""


def collect_less_often() -> None:
    """Call it when the process has its modules: what is there then is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 5)
