import signal

import pytest

from gpu.serve_vllm import (
    CannotServe,
    Gpu,
    base_url,
    bench_line,
    choose_gpus,
    option_value,
    parse_arguments,
    parse_gpus,
    serve_command,
    shell_status,
    suitable_options,
)

H100 = Gpu(0, "NVIDIA H100 80GB HBM3", 81559)
A100 = Gpu(1, "NVIDIA A100-SXM4-80GB", 81920)
L4 = Gpu(2, "NVIDIA L4", 23034)
RTX = Gpu(3, "NVIDIA GeForce RTX 3060", 12288)


def test_gpus_are_read_from_what_nvidia_smi_prints():
    assert parse_gpus("0, NVIDIA H100 80GB HBM3, 81559\n2, NVIDIA L4, 23034\n") == [H100, L4]
    assert parse_gpus("") == []


@pytest.mark.parametrize("line", ["0, NVIDIA GH200 480GB, [N/A]", "No devices were found", "0, 81559"])
def test_a_gpu_that_is_not_understood_is_quoted(line):
    with pytest.raises(CannotServe) as caught:
        parse_gpus(line)
    assert line in str(caught.value)


# (GPUs, tensor parallel, share of memory, tokens a step, sequences a step)
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
def test_options_suit_the_smallest_gpu(gpus, parallel, memory, tokens, sequences):
    assert suitable_options(gpus) == {
        "--tensor-parallel-size": parallel,
        "--gpu-memory-utilization": memory,
        "--max-num-batched-tokens": tokens,
        "--max-num-seqs": sequences,
    }


def test_without_a_gpu_vllm_chooses():
    assert suitable_options([]) == {}


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
def test_gpus_are_chosen_by_index_and_within_what_is_visible(asked, visible, chosen):
    assert [gpu.index for gpu in choose_gpus(asked, [H100, A100, L4], visible)] == chosen


@pytest.mark.parametrize(
    ("asked", "visible", "said"),
    [
        ("0,7,x", None, "--gpus 0,7,x: there is no GPU 7, x; nvidia-smi lists 0, 1"),
        ("all", "GPU-8f2c", "CUDA_VISIBLE_DEVICES=GPU-8f2c names no GPU by its index"),
        ("first", "", "CUDA_VISIBLE_DEVICES= names no GPU"),
    ],
)
def test_a_gpu_that_is_not_there_is_said(asked, visible, said):
    with pytest.raises(CannotServe) as caught:
        choose_gpus(asked, [H100, A100], visible)
    assert said in str(caught.value)


def test_what_the_user_says_wins_in_any_spelling():
    options = suitable_options([H100])
    extra = ["--max-num-seqs", "8", "--gpu_memory_utilization=0.5", "-tp", "4", "--enforce-eager"]
    command = serve_command("vllm", "m", "127.0.0.1", 8000, options, extra)
    assert command == [
        "vllm",
        "serve",
        "m",
        "--host",
        "127.0.0.1",
        "--port",
        "8000",
        "--max-num-batched-tokens",
        "8192",
        *extra,
    ]


@pytest.mark.parametrize("extra", [["--port", "1"], ["--host=0.0.0.0"]])
def test_address_and_port_are_not_hidden_from_us(extra):
    with pytest.raises(CannotServe, match="stands after --: write it before"):
        serve_command("vllm", "m", "127.0.0.1", 8000, {}, extra)


def test_option_values_are_found_in_both_forms():
    assert option_value(["--a", "1", "--b=2"], "--a") == "1"
    assert option_value(["--a", "1", "--b=2"], "--b") == "2"
    assert option_value(["--a"], "--a") == ""
    assert option_value(["x--a"], "--a") is None


def test_arguments_split_at_the_two_dashes():
    options, extra = parse_arguments(["m", "--port", "9", "--", "--x", "--", "y"])
    assert (options.model, options.port, options.gpus) == ("m", 9, "first")
    assert extra == ["--x", "--", "y"]
    assert parse_arguments(["m"])[1] == []


def test_a_server_on_every_address_is_reached_on_loopback():
    assert base_url("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert base_url("::", 1) == "http://[::1]:1"
    assert base_url("10.0.0.9", 1) == "http://10.0.0.9:1"


def test_the_bench_line_can_be_pasted():
    line = bench_line("http://127.0.0.1:8000", "my name", "./my model")
    assert line.startswith(
        "python -m bench run --url http://127.0.0.1:8000 --model 'my name' --tokenizer './my model' "
    )


def test_exit_statuses_are_those_of_a_shell():
    assert [shell_status(code) for code in (0, 3, -signal.SIGKILL)] == [0, 3, 137]
