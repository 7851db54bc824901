"""Two runs with the same seed send the same load with different texts, however bench makes the prompts.
`--same-prompts` sends the same bytes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit
from promptset.tokens import load_tokenizer
from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import LiteralServer, Received, Responder, Step

pytestmark = pytest.mark.long

WAYS = {
    "one process": ("--requests", "12", "--concurrency", "2", "--warmup", "4"),
    "one process, of several lengths": ("--requests", "12", "--rate", "200", "--input-tokens", "uniform:40..90"),
    "two workers": ("--requests", "12", "--concurrency", "2", "--warmup", "4", "--workers", "2"),
    # The number of requests is unknown in advance, so all except the first few come from the process beside the load.
    "a feed": ("--duration", "60s", "--concurrency", "2", "--text", "code"),
    "sessions": ("--mode", "sessions", "--requests", "8", "--concurrency", "2", "--turns", "2", "--output-tokens", "3"),
    "a recipe": ("--dataset", "chatbot", "--requests", "6", "--rate", "200", "--output-tokens", "3"),
}


class Listening:
    """A server's requests in a run: the body by request number; the probe has number -1. `enough`: end the run after
    this many."""

    def __init__(self, enough: int | None) -> None:
        self.bodies: dict[int, bytes] = {}
        self._enough = enough

    @property
    def responder(self) -> Responder:
        others = api(lambda request: stream(*GOOD))

        def answer(request: Received) -> Sequence[Step]:
            name = request.headers.get("x-request-id", "")
            if name:
                self.bodies[-1 if name.startswith("probe-") else int(name.rpartition("-")[2])] = request.body
                if len(self.bodies) == self._enough:
                    self._enough = None
                    os.kill(os.getpid(), signal.SIGINT)
            return others(request)

        return answer


def run(folder: Path, *words: str) -> tuple[dict[int, bytes], dict[str, Any]]:
    """The sent bodies, and the summary."""
    heard = Listening(30 if "--duration" in words else None)
    with LiteralServer(heard.responder) as server:
        lengths = () if "--dataset" in words else ("--input-tokens", "60")
        command = ["run", "--url", server.url, "--model", "m", "--out", str(folder), *lengths, *words, "--quiet"]
        status = cli.main(command)
    assert status in (Exit.GOOD, Exit.INVALID, Exit.INTERRUPTED)
    return heard.bodies, json.loads((folder / "summary.json").read_text())


def content(body: bytes) -> str:
    """The first user message."""
    return str(json.loads(body)["messages"][0]["content"])


def tokens(bodies: dict[int, bytes]) -> dict[int, int]:
    return {
        number: load_tokenizer().count_chat(json.loads(body)["messages"]) for number, body in sorted(bodies.items())
    }


@pytest.mark.parametrize("way", WAYS)
def test_two_runs_of_one_seed_share_no_beginning_and_have_the_same_lengths(way: str, tmp_path: Path) -> None:
    one, first = run(tmp_path / "one", *WAYS[way])
    other, second = run(tmp_path / "other", *WAYS[way])
    # In sessions, only first turns are independent of the replies: later texts depend on which session finishes first.
    begins = [body for bodies in (one, other) for body in bodies.values() if len(json.loads(body)["messages"]) == 1]
    assert len(begins) >= 8
    beginnings = {" ".join(content(body).split()[:4]) for body in begins}
    # The probe is the same in each run. Its five words begin no prompt of a run.
    assert len(beginnings) == len(begins) - 1
    if way != "sessions":
        both = one.keys() & other.keys()
        assert len(both) >= 7
        assert tokens({n: one[n] for n in both}) == tokens({n: other[n] for n in both})
    for summary in (first, second):
        assert summary["run"]["prompts"]["texts"] == "fresh"
        assert len(summary["run"]["prompts"]["salt"]) == 16
    assert first["run"]["prompts"]["salt"] != second["run"]["prompts"]["salt"]


@pytest.mark.parametrize("way", WAYS)
def test_same_prompts_sends_the_very_same_bytes_in_every_run(way: str, tmp_path: Path) -> None:
    one, first = run(tmp_path / "one", *WAYS[way], "--same-prompts")
    other, second = run(tmp_path / "other", *WAYS[way], "--same-prompts")
    if way == "sessions":
        # The first user to finish begins the next session, so one run may have one session more.
        fewer, more = sorted(({content(body) for body in bodies.values()} for bodies in (one, other)), key=len)
        assert fewer <= more
        assert len(fewer) >= 4
    else:
        both = one.keys() & other.keys()
        assert len(both) >= 7
        assert all(one[number] == other[number] for number in both)
    for summary in (first, second):
        assert summary["run"]["prompts"] == {"texts": "same", "salt": None}
        (note,) = (note for note in summary["run"]["notes"] if note.startswith("--same-prompts"))
        assert note.endswith("a server that has seen them may answer from its prefix cache")


def test_another_seed_has_other_lengths(tmp_path: Path) -> None:
    words = ("--requests", "12", "--rate", "200", "--input-tokens", "uniform:40..90")
    one, _ = run(tmp_path / "one", *words)
    other, _ = run(tmp_path / "other", *words, "--seed", "1")
    assert tokens(one) != tokens(other)


def test_the_salt_of_a_run_makes_its_prompts_again(tmp_path: Path) -> None:
    bodies, summary = run(tmp_path / "run", "--requests", "5", "--concurrency", "1")
    from promptset.cli import main as write

    salt = summary["run"]["prompts"]["salt"]
    out = tmp_path / "again.jsonl"
    assert write(["--chat", "--count", "5", "--input-tokens", "60", "--salt", salt, "--out", str(out)]) == 0
    again = [json.loads(line)["messages"][0]["content"] for line in out.read_text().splitlines()]
    assert again == [content(bodies[number]) for number in range(5)]


def test_rows_of_the_users_own_are_sent_unchanged_and_those_sent_again_are_counted(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"row {i}", "output_tokens": 3}) + "\n" for i in range(4)))
    bodies, summary = run(tmp_path / "run", "--dataset", str(rows), "--requests", "6", "--concurrency", "1")
    assert [content(bodies[number]) for number in range(6)] == ["row 0", "row 1", "row 2", "row 3", "row 0", "row 1"]
    assert summary["run"]["prompts"] == {"texts": "own", "salt": None}
    assert "2 requests repeat a row of the data set, which has fewer rows than that" in summary["run"]["notes"]


def test_the_lengths_of_a_trace_are_filled_with_fresh_texts(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"input_tokens": 30 + i, "output_tokens": 3, "at_s": i / 100}) + "\n" for i in range(8))
    )
    words = ("--dataset", str(rows), "--mode", "trace")
    (one, first), (other, _) = (run(tmp_path / name, *words) for name in ("one", "other"))
    assert first["run"]["prompts"]["texts"] == "fresh"
    assert tokens(one) == tokens(other)
    assert not {content(body) for n, body in one.items() if n >= 0} & {content(body) for body in other.values()}
