"""``python -m examples.demo``: exits with 0 when every figure is right, with 1 when one is not or nothing could run."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130


def main() -> int:
    """Ctrl-C, ``kill`` and a closed terminal end it in order and without a word of Python's."""
    _end_in_order()
    try:
        from rich.console import Console

        from examples.demo.show import show

        return show(Console(highlight=False), on_up=_end_in_order)
    except KeyboardInterrupt:
        print("\nstopped; everything is taken down")
        return INTERRUPTED


def _end_in_order() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # again when Ray is up: it takes SIGTERM for itself
        signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
