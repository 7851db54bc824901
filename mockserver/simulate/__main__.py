"""`python -m mockserver.simulate`."""

from __future__ import annotations

import json
import sys

from mockserver.errors import UsageError
from mockserver.simulate import Job, Outcome, simulate


def _answer(line: str) -> dict[str, object]:
    try:
        outcome = simulate(Job(**json.loads(line)))
    except UsageError as e:
        return {"error": "; ".join(e.problems)}
    except (TypeError, ValueError) as e:
        return {"error": str(e)}
    return {name: getattr(outcome, name) for name in Outcome.__slots__}


def main() -> None:
    """Answer every line of standard input."""
    for line in sys.stdin:
        if line.strip():
            sys.stdout.write(json.dumps(_answer(line)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
