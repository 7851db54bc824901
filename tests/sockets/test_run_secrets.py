"""No file or output of a run contains a secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import cli
from bench.errors import Exit
from tests.support.literal_replies import GOOD, api, error, stream, whole
from tests.support.literal_server import LiteralServer, Received, Step
from tests.support.run_process import MASK, finished, flags, loaded, records

pytestmark = pytest.mark.usefixtures("work_folder")


def test_secrets_of_bodies_are_in_no_file(tmp_path: Path) -> None:
    secrets = ("sk-of-extra-body", "sk-of-the-row")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        json.dumps({"messages": [{"role": "user", "content": "a"}], "hf_token": secrets[1], "max_tokens": 3}) + "\n"
    )

    def quote(request: Received) -> Sequence[Step]:
        return whole("400 Bad Request", error(f"what is {request.body.decode()}?"))

    with LiteralServer(loaded(quote)) as server:
        words = ["run", "--url", server.url, "--dataset", str(rows), "--requests", "2", "--out", str(tmp_path / "run")]
        status, out, err = finished([*words, "--extra-body", json.dumps({"api_key": secrets[0]})])
    assert status == Exit.TARGET, err
    assert "max_tokens" in records(tmp_path)[0]["error"]
    files = {path.name: path.read_text() for path in (tmp_path / "run").iterdir()}
    assert len(files) >= 4
    for secret in secrets:
        assert secret not in out + err
        assert [name for name, text in files.items() if secret in text] == []


# ---- Secrets ---------------------------------------------------------------------------------------------------------

KEY, HEADER, PASSWORD, QUERY = "sk-key-a1b2c3", "tenant-d4e5f6", "pass-g7h8i9", "query-j0k1l2"


def secretive(url: str, tmp_path: Path, *more: str, out: str = "run") -> list[str]:
    host = url.removeprefix("http://")
    target = f"http://user:{PASSWORD}@{host}/v1?token={QUERY}"
    return flags(target, tmp_path, "--api-key", KEY, "--header", f"X-Tenant: {HEADER}", *more, out=out)


def echo(request: Received) -> Sequence[Step]:
    every = f"{request.path} {json.dumps(request.headers)}"
    return whole("401 Unauthorized", error(f"Incorrect API key provided: {KEY} {HEADER} {PASSWORD} {QUERY} {every}"))


def test_no_secret_is_in_any_file_or_output_though_the_server_echoes_them(tmp_path: Path) -> None:
    def half(request: Received) -> Sequence[Step]:
        index = int(request.headers["x-request-id"].rpartition("-")[2])
        return echo(request) if index % 2 else stream(*GOOD)

    with LiteralServer(loaded(half)) as server:
        status, out, err = finished(secretive(server.url, tmp_path, "--requests", "6"))
    assert status == Exit.GOOD, err
    assert [r["error"] for r in records(tmp_path) if r["error"]] != []
    sent = server.received[-1]
    assert (sent.headers["authorization"], sent.headers["x-tenant"]) == (f"Bearer {KEY}", HEADER)
    told = {path.name: path.read_text() for path in (tmp_path / "run").iterdir()} | {"stdout": out, "stderr": err}
    for name, text in told.items():
        for secret in (KEY, HEADER, PASSWORD, QUERY):
            assert secret not in text, f"{secret} is in {name}"
    assert MASK in told["run.yaml"]
    assert MASK in told["requests.jsonl"]


def test_no_secret_is_in_the_probes_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with LiteralServer(api(echo)) as server:
        assert cli.main(secretive(server.url, tmp_path)) == Exit.TARGET
    said = capfd.readouterr()
    for secret in (KEY, HEADER, PASSWORD, QUERY):
        assert secret not in said.out + said.err
    assert MASK in said.err
