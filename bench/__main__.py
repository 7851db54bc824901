"""`python -m bench`."""

import sys

from bench.cli import main

if __name__ == "__main__":  # Not in a process that another one has started.
    sys.exit(main())
