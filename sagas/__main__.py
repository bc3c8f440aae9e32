"""``python -m sagas``: the same as the console script ``sagas``."""

import sys

from sagas.cli import main

if __name__ == "__main__":
    sys.exit(main())
