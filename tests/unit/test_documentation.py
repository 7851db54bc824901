"""The documentation: its blocks have a language, tables and links are complete, and all outcomes are listed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.definition import shipped
from bench.errors import Exit
from bench.records import Outcome
from tests.support.documentation import LEFT_OUT, NO_COMMANDS, ROOT, RUN, Block, anchors, commands_of, labels
from tests.support.examples import BLOCKS, PAGES

OF_THE_PROJECT = ["CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]
CANNOT_RUN = {
    "pip install": "changes the environment; scripts/bench-install does the same in a fresh one",
    "python -m bench run --url http://127.0.0.1:8000 --rate 20 --duration 5m": "needs a collector",
    "scripts/bench-install": "needs a package index",
    "scripts/hard-use": "takes hours; tests/sockets/test_hard_use.py runs the quick parts",
    "scripts/fuzz": "needs atheris, and takes minutes; tests/unit/test_fuzz.py runs every target",
    "scripts/sanitize": "needs gcc with its sanitizers, and takes minutes",
    "scripts/attacks": "takes minutes, and another checkout",
    "scripts/clean-runs": "takes minutes of a quiet machine",
    "scripts/real-servers": "needs vLLM, and minutes of a quiet machine",
    "scripts/bench-calibrate": "takes minutes of a quiet machine",
    "scripts/bench-console": "takes half an hour of a quiet machine",
    "scripts/bench-server-metrics": "takes minutes of a quiet machine",
    "scripts/bench-engine": "needs gcc and minutes of a quiet machine",
    "scripts/bench-mock": "needs gcc and minutes of a quiet machine",
    "scripts/agent-sessions": "counts 1,000 long prompts, and measures the machine, for minutes",
    "scripts/bench-promptset": "measures for minutes, and fetches tokenizers of real models for --exact",
    "scripts/bench-report": "takes minutes and gigabytes",
    "scripts/compare-reach": "takes minutes of a quiet machine",
    "scripts/quality-real": "needs vLLM in an environment of its own, and minutes of a quiet machine",
    "scripts/quality-reach": "takes minutes of a quiet machine; tests/virtual/test_answers_reach.py tries some of it",
    "scripts/plan-proof": "takes minutes of a quiet machine, and for vLLM the Python that has it",
    "scripts/tune-real": "takes 10 to 55 minutes of a quiet machine",
    "scripts/tune-reach": "takes minutes; tests/virtual/test_tune_reach.py tries some of it",
    "scripts/compare-tools": "installs other load testers, and takes minutes of a quiet machine",
    "python -m mockserver --host 0.0.0.0": "listens to the network",
    "python -m bench calibrate --sweep": "takes minutes",
    "python -m bench calibrate --full": "takes most of a minute; tests/sockets/test_calibrate_command.py runs some of it",
    "python -m bench calibrate --url http://there": "needs another machine",
    "python -m bench search": "takes its whole budget, minutes; a short one is run in docs/search.md",
    "scripts/bench-search": "takes three quiet minutes a search",
    "scripts/session-graphs": "takes a minute; tests/sockets/test_session_graphs_run.py sends some graphs",
    "scripts/cluster-reach": "needs Ray, and minutes of a quiet machine; tests/sockets/test_ray_cluster.py runs such loads",
    "scripts/cluster-plan": "writes gigabytes; tests/unit/bench/scale/test_cluster_plan.py runs a small one",
    "scripts/fit-reach": "takes a minute, and its figures are of a quiet machine",
    "scripts/fit-unseen": "takes minutes; tests/virtual/test_fit_unseen.py has a small form",
    "python -m bench run --url http://127.0.0.1:8000 --concurrency 1 --duration 60": "a minute; docs/fit.md has shorter ones",
    "python -m bench fit runs/1 runs/8 runs/64 runs/rate": "docs/fit.md fits shorter runs",
    "python -m bench plan --profile profile.json --rates day.csv": "docs/fit.md plans another day",
    "python -m bench plan --search runs/my-search": "needs a search; test_searched.py makes some",
    "scripts/fit-real": "needs vLLM, and takes minutes",
    "scripts/simulate-statistics": "takes half an hour of a quiet machine",
    "python -m bench quality --url http://127.0.0.1:8000 --concurrency 64": "takes minutes; docs/quality.md runs a short one",
    "python -m bench sweep --url http://127.0.0.1:8000 --loads concurrency=1..256x2": "takes ten minutes",
    "uvx": "needs uv and a package index; scripts/check-package installs the same wheel",
    "docker": "needs docker; scripts/check-container does the same",
    "TRUELOAD_TOKEN=choose-your-own docker compose up": "needs docker; tests/unit/test_containers.py reads the file",
    "scripts/check-package": "needs a package index, and takes minutes",
    "scripts/check-container": "needs a package index, and takes minutes",
    "kubectl": "needs a cluster; tests/unit/test_kubernetes.py holds the manifests to Kubernetes' schemas",
    "trueload completion": "changes the user's shell; tests/unit/bench/test_completion.py asks real ones",
    'eval "$(trueload completion': "changes the user's shell; tests/unit/bench/test_completion.py asks real ones",
    "trueload-mock --print-completion": "changes the user's shell; tests/unit/bench/test_completion.py asks real ones",
    "trueload-promptset --print-completion": "changes the user's shell; tests/unit/bench/test_completion.py asks real ones",
    "scripts/platforms": "installs an environment for each version of Python",
    "scripts/test-places": "runs this very test in other places",
    "scripts/test": "runs this very test",
    "scripts/mutants": "takes minutes; tests/unit/test_mutants.py tries what it is made of",
    "examples/": "tests/sockets/test_examples.py runs each, in seconds",
    "jupyter lab": "opens a browser; tests/sockets/test_examples.py runs the notebook's cells",
    "scripts/site": "builds the whole site, and is run before anything lands anyway",
    "scripts/demo": "tests/sockets/test_first_run.py types it",
    "python -m bench run --url http://127.0.0.1:8000 --concurrency 32 --requests 1000": "docs/tutorial.md has a shorter run",
    "scripts/environment": "makes the environment that this test runs in",
    "scripts/release-check": "looks at this checkout; tests/unit/test_release_check.py runs it",
    "python3 -m venv .venv": "as pip install",
    ". .venv/bin/activate": "as pip install",
    "scripts/check": "reads the whole checkout, and is run before anything lands anyway",
    "python gpu/measure.py": "needs a GPU and vLLM; tests/sockets/test_gpu_measure.py runs it with a stand-in",
    "python gpu/serve_vllm.py": "needs a GPU and vLLM",
}
"""What blocks marked `sh` may contain, and why no test runs them."""


def test_every_block_says_what_it_is() -> None:
    known = (*RUN, *LEFT_OUT, *NO_COMMANDS)
    blocks = [block for blocks in BLOCKS.values() for block in blocks]
    assert [f"{block} is marked {block.language!r}" for block in blocks if block.language not in known] == []
    assert [str(block) for block in blocks if block.language in NO_COMMANDS and "\n$ " in f"\n{block.text}"] == []


def test_what_is_left_out_is_known_and_has_a_reason() -> None:
    lines = [
        line
        for blocks in BLOCKS.values()
        for block in blocks
        if block.language in LEFT_OUT
        for line in block.text.splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert [line for line in lines if not line.startswith(tuple(CANNOT_RUN))] == []
    assert [start for start in CANNOT_RUN if not any(line.startswith(start) for line in lines)] == []


@pytest.mark.parametrize("page", [*PAGES, *OF_THE_PROJECT])
def test_every_link_inside_the_project_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page} links to {target}"


def test_the_pages_know_every_endpoint_and_exit_status() -> None:
    usage, endpoints = ((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("usage", "endpoints"))
    rows = "\n".join(line for line in endpoints.splitlines() if line.startswith("| `"))
    assert [name for name in (*ENDPOINTS, *shipped()) if f"`{name}`" not in rows] == [], (
        "docs/endpoints.md needs a row for each"
    )
    assert [int(status) for status in re.findall(r"^\| (\d+) \|", usage, re.MULTILINE)] == sorted(Exit)


def test_troubleshooting_knows_every_outcome() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    outcomes = [outcome for outcome in Outcome if outcome not in (Outcome.OK, Outcome.INTERRUPTED, Outcome.DROPPED)]
    assert [str(outcome) for outcome in outcomes if f"`{outcome}`" not in page] == []


APART = re.compile(r"[0-9}] %(?![\w(}])")
"""A percent sign apart from its number: `5 %`. (`{x} % (` and `i % 5` are code.)"""


def texts() -> Iterator[tuple[str, str]]:
    """(place, text) of all text that people read: pages, templates, golden reports, and every string of the programs
    with a separate percent sign."""
    pages = [ROOT / page for page in (*PAGES, *OF_THE_PROJECT)]
    for path in [*pages, *(ROOT / "bench").rglob("*.j2"), *(ROOT / "tests" / "golden").iterdir()]:
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for folder in ("bench", "mockserver", "datasets", "gpu"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(source)) if " %" in source else ():
                if isinstance(node, ast.JoinedStr):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", ast.unparse(node)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def test_the_figures_of_the_comparison_are_those_that_were_measured() -> None:
    page = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    measured = page.partition("## Measured")[2].partition("\n## ")[0]
    rows = [line.split("|")[2:-1] for line in re.findall(r"^\| .*\|$", measured, re.MULTILINE)]
    source = (ROOT / "docs" / "dev" / "other-tools.md").read_text(encoding="utf-8")
    tools = (
        "Trueload", "vllm bench serve (Rust)", "vllm bench serve (Python)", "sglang bench (Rust)",
        "sglang bench_serving (Python)", "aiperf", "guidellm", "genai-bench", "evalscope perf", "Locust",
    )  # fmt: skip
    assert {len(row) for row in rows} == {len(tools)}
    for at, tool in enumerate(tools):
        lines = [line for line in source.splitlines() if line.startswith(f"| {tool} ")]
        known = set(re.findall(r"[+-]?\d[\d.]*(?: s)?", "\n".join(lines)))
        figures = {row[at].strip().replace(",", "") for row in rows if re.match(r" [+-]?\d", row[at])}
        assert len(figures) > 8
        assert sorted(figures - known) == [], (
            f"docs/dev/other-tools.md has new measurements: copy its figures for {tool}"
        )


def test_the_figures_of_the_page_of_accuracy_are_rows_of_the_measurements() -> None:
    measured = {
        line for path in (ROOT / "docs" / "dev").glob("*.md") for line in path.read_text(encoding="utf-8").splitlines()
    }
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert page.count("\n") <= 150
    rows = [line for line in page.splitlines() if re.match(r"\| .*\d", line)]
    assert len(rows) > 15
    assert [row for row in rows if row not in measured] == [], "docs/dev/ has new measurements: copy its rows"


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2])
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(pages - set(listed)) == [], "add it to nav in mkdocs.yml"
    assert sorted(page for page in set(listed) if listed.count(page) > 1) == []


def test_percent_is_written_in_one_way() -> None:
    assert [f"{where}: {found[0]}" for where, text in texts() for found in [APART.search(text)] if found] == []
    assert [text for text in ("5 %", "at 5 %, say", "{share} %") if APART.search(text) is None] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`((?:bench|mockserver|datasets|examples|gpu|scripts|docs|tests)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_blank_line_ends_each_table(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert re.findall(r"^\|.*\n[^|\n].*", text, re.MULTILINE) == [], "the site would show the second line as a row"


def test_commands_go_on_after_a_backslash_and_keep_what_they_printed() -> None:
    block = Block("page.md", 1, "console", "$ echo a \\\n    b\na b\n$ true\n")
    assert [(command.words, command.shown) for command in commands_of(block)] == [("echo a b", ("a b",)), ("true", ())]


def test_labels_are_what_stands_before_the_numbers() -> None:
    shown = ("TTFT (ms)     50.62  50.09", "320 sent, 320 succeeded", "clock p50  +0.1", "        12.5  13.5", "VALID")
    assert labels(shown) == ["TTFT (ms)", "clock p50"]


WAITS = re.compile(r"--wait-for-server|--retry-connrefused|wait_for_server")
IN_THE_BACKGROUND = re.compile(r"python -m mockserver (?:.*--port[ =](\d+))?.*&")


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if any("&\n" in b.text for b in blocks)])
def test_what_a_page_starts_in_the_background_is_waited_for_by_the_first_command_that_uses_it(page: str) -> None:
    starting: set[str] = set()
    for block in BLOCKS[page]:
        for command in commands_of(block) if block.language == "console" else ():
            if (started := IN_THE_BACKGROUND.fullmatch(command.words)) is not None:
                starting.add(f"127.0.0.1:{started[1] or 8000}")
                continue
            used = {address for address in starting if address in command.words}
            assert not used or WAITS.search(command.words), f"{block}: `{command.words}` does not wait for {used}"
            starting -= used
