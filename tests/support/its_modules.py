"""As a program: `bench`, whose last line says how it ended and which modules its process has then."""

from __future__ import annotations

import sys

from bench import cli

if __name__ == "__main__":
    status = cli.main(sys.argv[1:])
    print(status, *sorted(sys.modules))
