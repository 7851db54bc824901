"""`python -m bench`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (whoever starts it has perhaps an older one)
    sys.exit(
        "error: Trueload needs Python 3.11 or newer, and {} is {}.{}".format(sys.executable, *sys.version_info[:2])
    )

try:
    from bench.cli import command
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":  # False in the child processes that import this module.
    command()
