"""``python -m tests.chaos``: see ``--help``."""

import sys

from tests.chaos.harness import main

if __name__ == "__main__":
    sys.exit(main())
