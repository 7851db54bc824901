"""`python -m promptset`."""

import sys

from promptset.cli import main

sys.exit(main())
