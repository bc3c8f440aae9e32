"""Become the server, after asking the kernel to end it together with the process that started it (Linux).

Law: run as a script, ``python -I -S launch.py PARENT_PID PROGRAM ARGUMENT...``, with nothing but the standard library,
and it ends in ``exec``: the server has the pid that was started. The wish survives ``exec``, which is why this small
program can stand in for ``preexec_fn``, whose Python code would run between fork and exec of a threaded process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent_pid: str, program: str, *arguments: str) -> None:
    """Replace this process by ``program``; exit instead when the parent has ended already.

    The wish is for SIGTERM: a server ends in order, and everything acknowledged is on disk anyway.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != int(parent_pid):  # it ended before the wish was made: nobody would send the signal
        raise SystemExit("the process that started this server has ended")
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
