"""A run whose load is changed from outside: with two workers, two terminals, and the socket between them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli, evaluate, manifest
from bench.control import ControlSocket, ask
from bench.errors import Exit, UsageError
from bench.run_files.run_directory import CHANGES, CONTROL, RunDirectory
from tests.support.calm import CALM
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.run_process import flags, process, wait_for


def accepted(run: Path, load: float) -> bool:
    try:
        return ask(run, load, by="terminal").load == load
    except UsageError:
        return False


def last_rows(path: Path, n: int) -> list[Any]:
    """The last rows of a growing file; fewer if it has no more yet."""
    written = path.read_bytes() if path.exists() else b""
    return [orjson.loads(line) for line in written.split(b"\n")[:-1][-n:]]


def in_flight(run: Path, load: float) -> list[int]:
    """The requests in flight of each worker, at this load."""
    return sorted(
        w["in_flight"] for row in last_rows(run / "live.jsonl", 1) if row["load"] == load for w in row["workers"]
    )


def last_gaps_ns(run: Path) -> list[int]:
    """The gaps between the last two arrivals of each worker, in their common order."""
    due = sorted(row["intended_ns"] for n in range(2) for row in last_rows(run / f"requests-{n}.jsonl", 2))
    return [after - before for before, after in pairwise(due)]


FOLLOWED: dict[str, Callable[[Path, float], bool]] = {
    # 31 users are 16 and 15. A worker that does not hear of 6 keeps its users.
    "--concurrency": lambda run, load: in_flight(run, load) == [load // 2, (load + 1) // 2],
    # The workers alternate: each has every second arrival.
    "--rate": lambda run, load: last_gaps_ns(run) == pytest.approx([1e9 / load] * 3, abs=2),
}
"""How to see that both workers follow a load: the condition that each test waits for."""


@pytest.mark.parametrize("load", [("--rate", "20"), ("--concurrency", "4")], ids=["rate", "users"])
def test_two_workers_follow_a_change_as_one_load(load: tuple[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "calm.yaml").write_text(CALM)
    words = [*load, "--arrivals", "constant"] if load[0] == "--rate" else load
    words = [*words, "--duration", "600s", "--workers", "2", "--quiet"]
    followed = FOLLOWED[load[0]]
    # On a fast server, 31 users would send a thousand requests per second.
    with (
        mock_process("--ttft", "200ms", "--tpot", "1ms") as mock,
        process(flags(mock.url, tmp_path, *words)) as running,
    ):
        wait_for(lambda: accepted(run, 31))
        assert stat.S_IMODE((run / CONTROL).stat().st_mode) == 0o600
        wait_for(lambda: followed(run, 31))
        assert cli.main(["set-load", str(run), "6"]) == Exit.GOOD
        assert cli.main(["set-load", str(run), "6"]) == Exit.USAGE
        wait_for(lambda: followed(run, 6))
        running.terminate()
        running.communicate(timeout=PATIENCE_S)
    assert not (run / CONTROL).exists()
    with pytest.raises(UsageError, match="has ended"):
        ask(run, 5, by="terminal")
    found = json.loads((run / "summary.json").read_text())
    assert [(row["from"], row["to"], row["by"]) for row in found["changes"]] == [
        (float(load[1]), 31, "terminal"),
        (31, 6, "terminal"),
    ]
    # tests/unit/bench/metrics/test_kept_plan.py tests how far a load may be off. On a slow machine, workers hear of a
    # change late.
    assert found["load"]["off_plan"]["of"] == {"--rate": "arrivals", "--concurrency": "users"}[load[0]]
    assert [segment["first"] for segment in found["segments"]] == [float(load[1]), 31, 6]
    page = (run / "report.html").read_text()
    assert "31 " in page
    assert 'class="change"' in page
    # Without the record of the first change, the same requests deviate from the plan.
    (run / CHANGES).write_bytes((run / CHANGES).read_bytes().split(b"\n", 1)[1])
    again = evaluate.evaluate(RunDirectory.open(run)).summary
    assert [part.first for part in again.segments or ()] == [31, 6]
    # Now all arrivals of the last part are at the wrong times. With users, only a part of the time is off.
    if load[0] == "--rate":
        assert again.load.off_plan is not None
        assert again.load.off_plan.share > 0.9
    assert manifest.read(RunDirectory.open(run)).manifest.workers == 2


# ---- The socket ----------------------------------------------------------------------------------------------------


def asked(path: Path, *questions: bytes) -> list[Any]:
    """The answers of a socket in this directory; a number is echoed, 13 is refused."""

    def answer(load: float | None, by: str) -> dict[str, Any]:
        if load == 13:
            raise UsageError("13 is no load")
        return {"load": load, "by": by}

    def one(question: bytes) -> Any:
        folder = os.open(path, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE_S)
                connection.connect(f"/proc/self/fd/{folder}/{CONTROL}")
                connection.sendall(question)
                connection.shutdown(socket.SHUT_WR)
                return json.loads(connection.makefile().readline())
        finally:
            os.close(folder)

    async def main() -> list[Any]:
        door = ControlSocket(path, answer)
        try:
            return [await asyncio.to_thread(one, question) for question in questions]
        finally:
            door.close()

    return asyncio.run(main())


def test_the_socket_answers_questions_and_refuses_the_others(tmp_path: Path) -> None:
    good, refused, *strange = asked(
        tmp_path,
        b'{"load": 20, "by": "x"}\n',
        b'{"load": 13, "by": "x"}\n',
        b"\n",
        b"[]\n",
        b'{"load": "a", "by": 1}\n',
    )
    assert good == {"load": 20.0, "by": "x"}
    assert refused == {"refused": "13 is no load"}
    assert all("not a question" in reply["refused"] for reply in strange)
    assert not (tmp_path / CONTROL).exists()


def test_a_directory_with_a_very_long_name_has_a_socket_too(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 40)
    deep.mkdir()
    assert asked(deep, b'{"load": null, "by": "x"}\n') == [{"load": None, "by": "x"}]


def test_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    assert asked(tmp_path, b'{"load": 20, "by": "x"}\n') == [
        {"refused": "only the user who started the run may change it"}
    ]


def test_a_directory_without_a_run_that_goes_on_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["set-load", str(tmp_path), "5"]) == Exit.USAGE
    assert "is not a run directory" in capsys.readouterr().err
    assert cli.main(["set-load", str(tmp_path), "many"]) == Exit.USAGE
    assert "'many' is not a load" in capsys.readouterr().err
