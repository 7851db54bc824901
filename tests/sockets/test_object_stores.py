"""Results copied to, and runs and data copied from, a real S3-compatible server (moto's)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from bench import cli
from bench.console.errors import ConsoleError
from bench.console.fetching import fetch
from bench.errors import Exit
from tests.support.balancer import balanced
from tests.support.literal_server import closed_port
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import have_imported, popen
from tests.support.run_process import SMALL, wait_for
from tests.support.s3_server import SECRET, S3Server, s3_server

Command = Callable[..., tuple[int, str, str]]
RUN = ("--requests", "4", "--config", "calm.yaml", "--quiet")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    have_imported("s3fs")
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as running:
        yield running.url


@pytest.fixture
def bench(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """A command in this folder, with only these AWS variables; its status and output."""

    def run(environment: Mapping[str, str], *words: str) -> tuple[int, str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            status = cli.main(list(words))
        out, err = capfd.readouterr()
        assert SECRET not in out + err
        return status, out, err

    return run


def local_files(folder: Path) -> dict[str, bytes]:
    (directory,) = (folder / "runs").iterdir()
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}


@pytest.mark.usefixtures("work_folder")
def test_a_run_is_copied_when_it_ends_and_read_from_there(
    tmp_path: Path, bench: Command, store: S3Server, mock: str
) -> None:
    store.store("data/questions.jsonl", b"".join(b'{"prompt": "Question %d?"}\n' % n for n in range(4)))
    words = ("run", "--url", mock, *RUN, "--output-tokens", "3", "--dataset", "s3://results/data/questions.jsonl")
    status, _, err = bench(store.environment, *words, "--out", "s3://results/nightly/one/")
    assert status == 0, err
    assert "to s3://results/nightly/one" in err
    written, keys = local_files(tmp_path), store.keys()
    assert {key.removeprefix("nightly/one/") for key in keys if key.startswith("nightly/one/")} == {*written}
    assert {name: store.content(f"nightly/one/{name}") for name in written} == written
    assert not any(SECRET.encode() in content for content in written.values())
    assert b"results/data/questions.jsonl" in written["run.yaml"]  # The cached copy is recorded with its source.
    # A second run into the same place is refused before anything is sent.
    status, _, err = bench(store.environment, *words, "--out", "s3://results/nightly/one")
    assert (status, err) == (Exit.USAGE, "error: s3://results/nightly/one has results already: name another key\n")
    status, out, err = bench(store.environment, "report", "s3://results/nightly/one", "--format", "json")
    assert status == 0, err
    assert json.loads(out) == json.loads(written["summary.json"])


@pytest.mark.usefixtures("work_folder")
def test_the_job_of_kubernetes_copies_its_results(tmp_path: Path, bench: Command, store: S3Server, mock: str) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "kubernetes" / "run.yaml").read_text()
    (job,) = [each for each in yaml.safe_load_all(text) if each["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    # The secret that the manifest names, created as its head describes.
    assert f"create secret generic {container['envFrom'][0]['secretRef']['name']}" in text
    secret = {name: store.environment[name] for name in re.findall(r"--from-literal=(AWS_\w+)=", text)}
    others = {"--url": mock, "--duration": "1s"}
    words = [
        f"{flag}={others.get(flag, value)}"
        for flag, _, value in (word.partition("=") for word in container["args"][1:])
    ]
    assert "add --out=s3://BUCKET/KEY" in text
    words.append("--out=s3://results/job")
    environment = {**secret, "AWS_EC2_METADATA_DISABLED": "true"}
    status, _, err = bench(environment, container["args"][0], *words, "--config", "calm.yaml")
    assert status in (Exit.GOOD, Exit.OBJECTIVE_FAILED, Exit.INVALID), err
    assert json.loads(store.content("job/summary.json"))["counts"]["sent"] > 0


@pytest.mark.usefixtures("work_folder")
def test_a_run_that_cannot_be_copied_stays_and_the_command_given_copies_it(
    tmp_path: Path, store: S3Server, mock: str
) -> None:
    # The store disappears during the run, so its first and last listing differ.
    with balanced([store.url]) as url:
        load = ("--url", mock, *SMALL, "--config", "calm.yaml", "--duration", "1h")
        environment = {**os.environ, **store.environment, "AWS_ENDPOINT_URL": url, "AWS_MAX_ATTEMPTS": "1"}
        running = popen(
            [sys.executable, "-m", "bench", "run", *load, "--out", "s3://results/lost"],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for(lambda: any(file.stat().st_size for file in (tmp_path).glob("runs/*/requests.jsonl")))
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED
    (directory,) = (tmp_path / "runs").iterdir()
    assert f"Nothing is lost: they are in runs/{directory.name}. Copy them with: " in err
    assert SECRET not in err
    again = err.partition("Copy them with: ")[2].strip()
    subprocess.run(
        again, shell=True, check=True, cwd=tmp_path, env={**os.environ, **store.environment}, timeout=PATIENCE_S,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert store.content("lost/requests.jsonl") == (directory / "requests.jsonl").read_bytes()
    assert store.content("lost/summary.json") == (directory / "summary.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--out", "s3://nowhere/a"), "s3://nowhere/a: there is no such bucket, or nothing at this key"),
        (("--out=s3://",), "s3:// names no bucket"),
        (
            ("--dataset", "s3://results/no/data"),
            "s3://results/no/data: there is no such bucket, or nothing at this key",
        ),
        (("--out", "gs://results/a"), "gs:// needs a package that is not installed: pip install gcsfs"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_before_the_load(
    words: Sequence[str], sentence: str, tmp_path: Path, bench: Command, store: S3Server
) -> None:
    status, _, err = bench(store.environment, "run", "--url", "http://127.0.0.1:1", *words)
    assert status == Exit.USAGE
    assert sentence in err
    assert not (tmp_path / "runs").exists()


def test_a_store_that_cannot_be_reached_is_named_before_the_load(bench: Command, store: S3Server) -> None:
    with closed_port() as dead:
        words = ("run", "--url", "http://127.0.0.1:1", "--out", "s3://results/a")
        environment = {**store.environment, "AWS_ENDPOINT_URL": dead, "AWS_MAX_ATTEMPTS": "1"}
        status, _, err = bench(environment, *words)
    assert status == Exit.USAGE
    assert err.startswith("error: s3://results/a: Could not connect to the endpoint URL")
    assert dead in err


def test_a_command_that_writes_a_file_takes_no_address(bench: Command, store: S3Server) -> None:
    status, _, err = bench(store.environment, "limits", "--out", "s3://results/limits.json")
    assert (status, err) == (
        Exit.USAGE,
        "error: --out s3://results/limits.json: limits writes a file: name a local one\n",
    )


@pytest.mark.parametrize("allowed", [False, True])
def test_the_console_takes_data_from_a_store_unless_its_endpoint_is_local(
    allowed: bool, store: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.store("console/questions.jsonl", b'{"prompt": "a"}\n')
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    address = "s3://results/console/questions.jsonl"
    if allowed:
        assert asyncio.run(fetch(address, allow_local=True)) == ("questions.jsonl", b'{"prompt": "a"}\n')
        with pytest.raises(ConsoleError, match="there is no such bucket, or nothing at this key"):
            asyncio.run(fetch("s3://results/console/none.jsonl", allow_local=True))
    else:
        with pytest.raises(ConsoleError, match=r"127\.0\.0\.1 leads to 127\.0\.0\.1, an address of this machine"):
            asyncio.run(fetch(address))
