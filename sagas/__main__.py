"""``python -m sagas``: the same as the console script ``sagas``."""

import sys

if __name__ == "__main__":
    # `python -m` looks into the current folder first, where a `compensations.py` of the user's would stand before ours
    # and end in an import error. Last it does no harm; `main` puts it first again, and can then say what is wrong.
    sys.path.append(sys.path.pop(0))
    from sagas.cli import main

    sys.exit(main())
