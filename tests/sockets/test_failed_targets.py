"""A server that dies under load, and the run's report: FAILED first, exit 4, and consistent counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.errors import Exit
from tests.support.calm import CALM
from tests.support.literal_replies import GOOD, stream
from tests.support.literal_server import Close, LiteralServer, Pause, Received, Step
from tests.support.ready_made import run_to_end
from tests.support.run_process import load_of, loaded, wait_for


def run_against_a_mortal(tmp_path: Path, requests: int, *more: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, summary and terminal output of a run whose server dies on receiving this request number."""

    def chat(request: Received) -> Sequence[Step]:
        if int(request.headers["x-request-id"].rpartition("-")[2]) < requests:
            return [Pause(0.01), *stream(*GOOD)]
        # Wait until the server has answered, as a delayed client may send all requests at once.
        wait_for(lambda: any(len(one.writes) == len(stream(*GOOD)) for one in load_of(server)) and server.all_is_read())
        server.die()
        return [Close()]

    (tmp_path / "calm.yaml").write_text(CALM)
    with LiteralServer(loaded(chat)) as server:
        command = [sys.executable, "-m", "bench", "run", "--url", server.url, "--config", str(tmp_path / "calm.yaml"),
                   "--out", str(tmp_path / "run"), "--quiet", "--input-tokens", "16", "--output-tokens", "3",
                   *more]  # fmt: skip
        ran = run_to_end(command)
    return ran.returncode, json.loads((tmp_path / "run" / "summary.json").read_text()), ran.stdout


def test_a_server_that_dies_early_fails_the_run(tmp_path: Path) -> None:
    status, summary, out = run_against_a_mortal(tmp_path, 20, "--concurrency", "4", "--requests", "200")
    counts = summary["counts"]
    assert (status, summary["verdict"]["status"]) == (Exit.TARGET, "FAILED")
    assert 17 <= counts["succeeded"] <= 20  # Up to three others were in flight.
    assert counts["succeeded"] + counts["failed"] == 200
    assert counts["sent"] == 200 - counts["failed_unsent"]
    assert counts["target_gone"]["requests"] == pytest.approx(counts["failed"], abs=4)
    assert out.startswith("FAILED, ")
    assert any(f"{counts['failed']:,} of 200 requests failed" in reason for reason in summary["verdict"]["reasons"])


def test_a_server_that_is_gone_for_the_rest_of_an_open_loop_fails_the_run(tmp_path: Path) -> None:
    status, summary, _ = run_against_a_mortal(tmp_path, 150, "--rate", "60", "--requests", "200")
    assert 50 <= summary["counts"]["failed"] < 200
    assert (status, summary["verdict"]["status"]) == (Exit.TARGET, "FAILED")
    assert any(reason.startswith("the target gave its last answer") for reason in summary["verdict"]["reasons"])
