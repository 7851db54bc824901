"""`python -m promptset`."""

import sys

from promptset.cli import main

if __name__ == "__main__":  # Skip this in spawned worker processes, which import this module.
    sys.exit(main())
