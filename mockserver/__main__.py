"""`python -m mockserver`."""

import gc
import sys

# Imports create tens of thousands of objects that all stay alive, so the collector should not scan them again and
# again. A running mock sets its own threshold (http/server.py).
gc.set_threshold(200_000)

if sys.version_info < (3, 11):  # noqa: UP036 (whoever starts it has perhaps an older one)
    sys.exit(
        "error: Trueload needs Python 3.11 or newer, and {} is {}.{}".format(sys.executable, *sys.version_info[:2])
    )

try:
    from mockserver.cli import main
except ModuleNotFoundError as e:
    if (e.name or "").partition(".")[0] in ("", "mockserver"):
        raise
    print(
        f"error: {sys.executable} has no module {e.name!r}: Trueload is not installed there. In a clone, "
        "scripts/environment makes .venv with all it needs; then activate it (. .venv/bin/activate). "
        "Elsewhere: pip install .",
        file=sys.stderr,
    )
    raise SystemExit(2) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

raise SystemExit(main())
