"""The parts of a load from a cluster: clock offsets, shards in transit, and nodes that differ. Without a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.commands import options
from bench.config import Settings, resolve
from bench.config.flags import Parser, add_fields
from bench.errors import UsageError
from bench.records import from_line, to_line
from bench.run_files import growing_file, writable
from bench.run_files.growing_file import GrowingFile
from bench.run_files.run_directory import RunDirectory
from bench.scale.cluster import shipping
from bench.scale.cluster.clock_offset import ClockOffset, Ping, closest
from bench.scale.cluster.collect import ClockNote, clock_name, collect
from bench.scale.cluster.crew import differences
from bench.scale.cluster.environment import environment_of, packages
from bench.scale.cluster.node_worker import NodeFacts, node_facts
from bench.scale.cluster.shipping import on_driver_clock
from tests.support.changed import replace
from tests.support.made_records import made_record

FACTS = NodeFacts("a", 4, {"python": "3.11.7", "trueload": "0.1.0"}, "c0de", {"boot_id": "1", "time_namespace": "2"})

# ---- Clocks --------------------------------------------------------------------------------------------------------


def test_the_shortest_ping_says_the_offset_and_half_of_it_the_bound() -> None:
    pings = [Ping(0, 5_000, 900), Ping(1_000, 5_560, 1_101), Ping(2_000, 7_000, 2_400)]
    assert closest(pings) == ClockOffset(1_050 - 5_560, 51)


@given(
    offset=st.integers(-(10**15), 10**15),
    ways=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=20),
)
def test_the_true_offset_is_within_the_bound_however_unequal_the_ways(offset: int, ways: list[tuple[int, int]]) -> None:
    pings, at = [], 10**12
    for there, back in ways:
        pings.append(Ping(at, at + there - offset, at + there + back))
        at += there + back
    found = closest(pings)
    assert abs(found.offset_ns - offset) <= found.bound_ns
    assert found.bound_ns <= -(-min(there + back for there, back in ways) // 2)


def test_what_both_measurements_can_be_wrong_by_is_no_drift() -> None:
    first = ClockOffset(1_000, 100)
    assert first.drift_ns(ClockOffset(1_150, 50)) == 0
    assert first.drift_ns(ClockOffset(700, 50)) == 150


def test_instants_go_there_and_come_back() -> None:
    offset = ClockOffset(-7_000, 3)
    assert offset.ours(offset.theirs(123)) == 123
    assert offset.theirs(0) == 7_000


# ---- Shards in transit ---------------------------------------------------------------------------------------------


def test_every_instant_of_a_record_is_moved_and_no_duration() -> None:
    seen = made_record()
    one = replace(
        seen, chunk_bound_ns=(None, *seen.chunk_ns[1:]), pause_ns=77, connect_ns=55, resent_ns=(seen.sent_ns or 0) + 9
    )
    moved = from_line(on_driver_clock(to_line(one), 1_000_000))
    assert moved.pause_ns == 77
    assert moved.connect_ns == 55
    assert moved.sent_ns == (one.sent_ns or 0) + 1_000_000
    assert moved.chunk_bound_ns == (None, *(at + 1_000_000 for at in one.chunk_ns[1:]))
    back = from_line(on_driver_clock(to_line(moved), -1_000_000))
    assert back == one
    # A new field in ns that is not handled here would keep the node's clock.
    fields = {name for name in orjson.loads(to_line(one)) if name.endswith("_ns")}
    assert fields == (shipping._INSTANTS - {"t_ns"}) | shipping._LISTS | {"connect_ns"}


def test_a_sample_is_moved_with_its_pause() -> None:
    row = {"t_ns": 10, "worker": 1, "pause_ns": [4, 9], "in_flight_ns": 33, "loop_lag_ms": [0.1]}
    assert orjson.loads(on_driver_clock(orjson.dumps(row) + b"\n", 100)) == {**row, "t_ns": 110, "pause_ns": [104, 109]}


def test_bytes_are_as_they_were_where_the_clock_is_the_same() -> None:
    assert on_driver_clock(b'{"a": 1}\n', 0) == b'{"a": 1}\n'


def test_pieces_are_whole_lines_of_bounded_size_and_together_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_file, "PIECE_BYTES", 64)
    path = tmp_path / "shard"
    lines = [b"x" * (7 * n % 90) + b"\n" for n in range(60)]
    path.write_bytes(b"".join(lines[:40]) + b"torn")
    shard = GrowingFile(path)
    pieces = []
    while piece := shard.next_piece():
        pieces.append(piece)
    assert b"".join(pieces) == b"".join(lines[:40])
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= 64 or piece.count(b"\n") == 1 for piece in pieces)
    with path.open("ab") as file:
        file.write(b" no more\n")
    assert shard.next_piece() == b"torn no more\n"
    assert shard.next_piece() == b""


def left_on_a_node(folder: Path, worker: int, offset_ns: int, run_id: str = "r") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"requests-{worker}.jsonl").write_bytes(to_line(replace(made_record(worker), worker=worker)) + b'{"torn')
    (folder / f"samples-{worker}.jsonl").write_bytes(b'{"t_ns":5}\n')
    (folder / clock_name(worker)).write_bytes(orjson.dumps(ClockNote(worker, offset_ns, run_id)))


def test_shards_that_were_left_on_nodes_are_put_into_the_run_by_the_driver_s_clock(tmp_path: Path) -> None:
    left_on_a_node(tmp_path / "a", 0, 1_000)
    left_on_a_node(tmp_path / "b", 1, -2_000)
    directory = RunDirectory.create(tmp_path / "run")
    (directory.path / "requests-1.jsonl").write_bytes(b"{}\n")  # The shipped part of the shard.
    assert collect(directory, [tmp_path / "a", tmp_path / "b"], "r", 2) == 2
    ends = {record.worker: record.end_ns for record in directory.records()}
    assert ends == {0: made_record(0).end_ns + 1_000, 1: made_record(1).end_ns - 2_000}
    assert [row["t_ns"] for row in directory.samples()] == [1_005, -1_995]


def test_shards_of_nowhere_and_of_a_run_that_is_whole_are_refused(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    with pytest.raises(UsageError, match="no shard of a worker"):
        collect(directory, [tmp_path], "r", 2)
    left_on_a_node(tmp_path / "a", 0, 0)
    (directory.path / "requests.jsonl").write_bytes(to_line(made_record()))
    with pytest.raises(UsageError, match="in one file already"):
        collect(directory, [tmp_path / "a"], "r", 2)


def test_shards_that_cannot_be_of_the_run_are_all_named_before_any_is_taken(tmp_path: Path) -> None:
    a, b, c, d = (tmp_path / name for name in "abcd")
    left_on_a_node(a, 1, 0)
    left_on_a_node(b, 1, 0)
    left_on_a_node(c, 0, 0, "earlier")
    left_on_a_node(d, 2, 0)
    (a / "samples-1.jsonl").unlink()
    directory = RunDirectory.create(tmp_path / "run")
    with pytest.raises(UsageError) as refused:
        collect(directory, [a, b, c, d], "r", 2)
    assert refused.value.problems == [
        f"--shards: {a}/samples-1.jsonl is missing: copy the whole directory of the node, or leave {a} out",
        f"--shards: {b} and {a} both have a shard of worker 1: name one of them",
        f"--shards: {c} has shards of the run earlier, not of r: name its directory of this run",
        f"--shards: {d} has a shard of worker 2, but the run has 2 (from 0)",
    ]
    assert list(directory.shards("requests.jsonl")) == []


def test_shards_whose_note_is_of_an_earlier_version_are_taken(tmp_path: Path) -> None:
    left_on_a_node(tmp_path / "a", 0, 0)
    (tmp_path / "a" / clock_name(0)).write_text('{"worker": 0, "offset_ns": 5}')
    directory = RunDirectory.create(tmp_path / "run")
    assert collect(directory, [tmp_path / "a"], "r", 2) == 1
    assert [record.end_ns for record in directory.records()] == [made_record(0).end_ns + 5]


def test_a_damaged_note_of_a_clock_is_refused_by_its_name(tmp_path: Path) -> None:
    left_on_a_node(tmp_path / "a", 0, 0)
    note = tmp_path / "a" / clock_name(0)
    note.write_text('{"offset_ns": "x"}')
    with pytest.raises(UsageError) as refused:
        collect(RunDirectory.create(tmp_path / "run"), [tmp_path / "a"], "r", 2)
    assert refused.value.problems == [
        f"{note}: worker is missing",
        f'{note}: offset_ns must be a whole number, not "x"',
    ]


# ---- Nodes and settings --------------------------------------------------------------------------------------------


def test_a_node_that_differs_is_named_once_with_all_that_differs() -> None:
    other = replace(FACTS, versions={"python": "3.12.1", "trueload": "0.1.0", "uvloop": "1"})
    code = replace(FACTS, code="other")
    said = differences(FACTS, [("a", FACTS), ("b", other), ("b", other), ("c", code)])
    assert said == [
        "--cluster: node b has python 3.12.1 (here: 3.11.7), uvloop 1 (here: none): install the same on every node",
        "--cluster: node c has other source code of trueload 0.1.0 (other, here: c0de): leave out --runtime-env none, "
        "or install the same on every node",
    ]
    assert differences(FACTS, [("a", replace(FACTS, host="b", processors=9))]) == []
    # Ray has shipped the code: the node has no installed package, but the same source.
    assert differences(FACTS, [("a", replace(FACTS, versions={"python": "3.11.7"}))]) == []
    assert differences(FACTS, [("a", replace(code, versions={"python": "3.11.7"}))]) != []


# ---- Processes on the nodes ----------------------------------------------------------------------------------------


def test_our_source_code_is_shipped_beside_what_the_file_asks_for(tmp_path: Path) -> None:
    ours = [str(package) for package in packages()]
    assert [Path(package).name for package in ours] == ["bench", "promptset"]
    assert environment_of("code", []) == environment_of(None, []) == {"py_modules": ours}
    assert environment_of("none", []) is None
    file = tmp_path / "env.yaml"
    file.write_text("pip: [tokenizers]\npy_modules: [s3://b/more.zip]\nenv_vars: {TOKENIZERS_PARALLELISM: 'false'}\n")
    assert environment_of(str(file), ["sk-1234"]) == {
        "pip": ["tokenizers"],
        "py_modules": ["s3://b/more.zip", *ours],
        "env_vars": {"TOKENIZERS_PARALLELISM": "false"},
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("env_vars: {OPENAI_API_KEY: abc}", ["env_vars.OPENAI_API_KEY has the name of a secret"]),
        ("pip: [a, 'b @ http://u:sk-1234@h/b.whl']", ["pip[1] holds a secret of this run"]),
        (
            "env_vars: {HF_TOKEN: x, PLACE: at-sk-1234}",
            ["env_vars.HF_TOKEN has the name", "env_vars.PLACE holds a secret"],
        ),
        ("- a", ["must hold keys with values"]),
        ("a: [", ["not YAML"]),
        ("py_modules: code", ["py_modules must be a list"]),
        (None, ["No such file or directory: give code, none, or a YAML file"]),
    ],
)
def test_an_environment_with_a_secret_or_a_mistake_is_refused(
    tmp_path: Path, content: str | None, said: list[str]
) -> None:
    file = tmp_path / "env.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError) as refused:
        environment_of(str(file), ["sk-1234", "abc"])
    assert len(refused.value.problems) == len(said)
    for sentence, part in zip(refused.value.problems, said, strict=True):
        assert part in sentence
        assert "sk-1234" not in sentence


def test_the_facts_of_this_machine_are_the_same_twice() -> None:
    assert node_facts() == node_facts()
    assert len(node_facts().code) == 16


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cluster": "head"}, "neither ray nor the address of a Ray cluster"),
        ({"workers_per_node": 2}, "add --cluster"),
        ({"runtime_env": "code"}, "add --cluster"),
        ({"cluster": "ray", "workers_per_node": 2, "workers": "3"}, "cannot be combined"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve({"url": "http://h", **given})


def test_the_commands_and_the_manifest_of_the_documentation_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    # The directory of the manifest is on the cluster, so it need not be writable here.
    monkeypatch.setattr(writable, "refuse_directory", lambda flag, path: None)
    root = Path(__file__).parents[4]
    page = (root / "docs" / "cluster.md").read_text(encoding="utf-8")
    job = yaml.safe_load((root / "deploy" / "kubernetes" / "rayjob.yaml").read_text(encoding="utf-8"))
    cluster = job["spec"]["rayClusterSpec"]
    # The requirements of KubeRay's resource definition and of a load: a fixed replica count, no worker on the driver's
    # pod.
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]
    for pod in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        for container in pod["template"]["spec"]["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]
    commands = [job["spec"]["entrypoint"], *re.findall(r"python -m bench run [^\n]*", page)]
    assert len(commands) >= 3
    for command in commands:
        parser = Parser(prog="python -m bench run")
        add_fields(parser, Settings)
        config = options.resolve_flags(*options.parse_flags(parser, command.split()[4:]))
        assert config.cluster == "ray"
