"""`bench run`: one load test."""

from __future__ import annotations

from collections.abc import Sequence

from bench.commands.options import config_of, run_parser
from bench.commands.output import finish, terminal

SUMMARY = "run one load test, and write its report"

EXAMPLES = """\
examples:
  python -m bench run --url http://127.0.0.1:8000 --concurrency 32 --requests 500
  python -m bench run --url http://127.0.0.1:8000 --rate 20 --duration 5m --slo "ttft:p99<500ms"
  python -m bench run --url http://127.0.0.1:8000 --mode throughput --requests 1000 --input-tokens uniform:100..500

distributions (DIST): 128   uniform:100..500   normal:mean=1024,std=200,min=1   lognormal:mean=200,cv=0.5
exit status: 0 good, 1 an objective failed, 2 wrong usage, 3 INVALID, 4 the server failed, 70 a defect of Trueload,
             130 interrupted
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    from bench.load_test import run

    parser = run_parser(
        "run", "Runs one load test against a server, and writes a run directory with its report.", EXAMPLES
    )
    config = config_of(parser, argv)
    result = run(config, command=["python", "-m", "bench", "run", *argv], observer=terminal(config.quiet))
    return finish(config, result)
