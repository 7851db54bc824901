"""A command reports every problem of its flags and paths at once."""

from __future__ import annotations

import pytest

from bench.cli import main


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ("compare nope other --margin x", ["--margin x:", "nope does not exist:", "other does not exist:"]),
        ("gate nope --slo ttft:p99<5 --baseline no.json", ["ttft needs a unit", "nope does not", "no.json does not"]),
        (
            "fit nope other --max-num-seqs x --held-out third --no-replay",
            ["--max-num-seqs x:", "--held-out names a run", "third is not", "nope is not", "other is not"],
        ),
        (
            "fit nope --engine sampled --step-gap 0.6 --kv-blocks 3",
            ["--kv-blocks: goes with --engine batching alone", "--step-gap: goes with", "nope is not a run directory"],
        ),
        ("plan", ["--slo is missing", "--profile is missing", "--rates is missing"]),
        ("plan --slo ttft:p99<1s --profile no.json", ["--profile no.json: cannot be read", "--rates is missing"]),
        (
            "console --port x --token short --tls-key k.pem --trusted-proxy 127.0.0.1",
            ["--port must be from 0", "--token", "--tls-key needs --tls-cert", "--trusted-proxy needs"],
        ),
    ],
)
def test_every_problem_is_told_at_once(words: str, problems: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    count, *lines = capsys.readouterr().err.splitlines()
    assert count == f"error: {len(problems)} problems"
    assert len(lines) == len(problems)
    for line, problem in zip(lines, problems, strict=True):
        assert problem in line
