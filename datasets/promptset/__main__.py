"""`python -m promptset`."""

import sys

from promptset.cli import main

if __name__ == "__main__":  # Not in a process that another one has started.
    sys.exit(main())
