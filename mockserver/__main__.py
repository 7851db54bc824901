"""`python -m mockserver`."""

import sys

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

raise SystemExit(main())
