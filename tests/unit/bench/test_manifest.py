"""The content of run.yaml, written and read as typed values, from this version and older ones."""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from bench import manifest
from bench.clock import NS_PER_S as S
from bench.config import resolve
from bench.errors import Exit, UsageError
from bench.evaluate import evaluate
from bench.manifest import Manifest, TokenizerName, data_digests
from bench.modes.rate import Rate
from bench.records import to_line
from bench.run_files.load_change import LoadChange
from bench.run_files.run_directory import RunDirectory
from bench.run_files.run_state import RunState
from bench.server_metrics.prefix_cache import PrefixCacheUse
from tests.support.made_records import START_NS, made_record

NEEDED: dict[str, Any] = {
    "run_id": "run-1", "started": "2030-01-01T00:00:00+00:00", "command": ["python"], "model": "m",
    "exact_lengths": False, "start_ns": START_NS,
}  # fmt: skip

FULL = Manifest(
    run_id="run-1",
    started="2030-01-01T00:00:00+00:00",
    command=("python", "-m", "bench"),
    model=None,
    notes=("a note",),
    exact_lengths=True,
    tokenizer=TokenizerName(name="words", fingerprint="abc"),
    clock="loop",
    event_loop="uvloop",
    workers=2,
    versions={"trueload": "0.1.0"},
    host={"name": "h", "processors": 2},
    planned=7,
    start_ns=START_NS,
    run_start_ns=START_NS + 1,
    stop_reason="requests",
    ended="2030-01-01T00:01:00+00:00",
    prefix_cache=PrefixCacheUse(planned_share=0.5),
    died=("worker 1 was killed by SIGKILL",),
)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run")


def test_a_run_is_read_as_it_was_written(directory: RunDirectory) -> None:
    config = resolve({"url": "http://h", "rate": 5, "slo": ["ttft:p99<1s"], "limits": {"errors": {"suspect": 0.5}}})
    manifest.write(directory, config, FULL)
    run = manifest.read(directory)
    assert (run.config, run.manifest, run.written_config) == (config, FULL, config.public())


def test_the_segments_of_a_load_follow_each_other_after_its_warm_up() -> None:
    config = resolve({"url": "http://h", "mode": "concurrency", "steps": "2,4:10s", "warmup": "3s"})
    found = [(one.first, one.last, one.start_ns, one.end_ns) for one in manifest.planned_segments(config, 7)]
    assert found == [(2, 2, 3 * S + 7, 13 * S + 7), (4, 4, 13 * S + 7, 23 * S + 7)]


def test_a_manifest_is_written_as_people_write(directory: RunDirectory) -> None:
    directory.write_manifest({"config": {"name": "Größe"}})
    assert "name: Größe" in (directory.path / "run.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (-1, 2), (1, math.inf), (math.inf, 1), (math.nan, 1)])
def test_a_change_to_or_from_an_impossible_load_is_refused(before: float, after: float) -> None:
    row = {"t_ns": 5, "from": before, "to": after, "by": "console"}
    with pytest.raises(ValueError, match=f"a load must be above 0: {before:g} to {after:g}"):
        LoadChange.of_row(row)
    for good in ((0.5, 2.0), (2.0, 0.5)):
        change = LoadChange(t_ns=5, before=good[0], after=good[1], by="console")
        assert LoadChange.of_row({**row, "from": good[0], "to": good[1]}) == change


@pytest.mark.parametrize("t_ns", [-1, -1e308, 1 << 63])
def test_a_change_has_a_time(t_ns: float) -> None:
    row = {"t_ns": t_ns, "from": 4, "to": 8, "by": "x"}
    with pytest.raises(ValueError, match="t_ns is no time: "):
        LoadChange.of_row(row)
    assert LoadChange.of_row({**row, "t_ns": 0}).t_ns == 0
    assert LoadChange.of_row({**row, "t_ns": (1 << 63) - 1}).t_ns == (1 << 63) - 1


@pytest.mark.parametrize(
    ("more", "may"),
    [
        ({}, True),
        ({"stop_reason": "requests"}, False),
        ({"stop_reason": "requests", "died": ("worker 1",)}, True),
        ({"stop_reason": "requests", "abandoned": True}, True),
    ],
)
def test_records_may_be_lacking_after_a_kill_a_death_or_a_load_that_was_given_up(
    more: dict[str, Any], may: bool
) -> None:
    assert Manifest(**NEEDED, **more).may_lack_records is may


def test_a_load_has_begun_once_it_has_a_start_or_a_record(directory: RunDirectory) -> None:
    assert not manifest.load_began(directory), "there is no run.yaml yet"
    (directory.path / "requests.jsonl").write_text("{}\n")
    assert manifest.load_began(directory), "run.yaml was removed"
    for start_ns, began in ((0, False), (1, True)):
        manifest.write(directory, resolve({"url": "http://h"}), FULL.model_copy(update={"start_ns": start_ns}))
        assert manifest.load_began(directory) is began
    (directory.path / "run.yaml").write_text("half")
    assert manifest.load_began(directory), "without either file this cannot be known"


def test_a_new_state_changes_nothing_else(directory: RunDirectory) -> None:
    begun = manifest.write(directory, resolve({"url": "http://h"}), Manifest(**NEEDED, state=RunState.PREPARING))
    manifest.mark(directory, RunState.WARMING_UP)
    path = directory.path / "run.yaml"
    assert path.read_bytes() == begun.replace(b"state: preparing", b"state: warming up")
    manifest.mark(directory, RunState.ENDED, begun)
    assert path.read_bytes() == begun.replace(b"state: preparing", b"state: ended")


def test_no_part_of_a_manifest_can_be_changed() -> None:
    parts = [part for part in vars(manifest).values() if isinstance(part, type) and issubclass(part, BaseModel)]
    assert Manifest in parts
    assert [part.__name__ for part in parts if part is not BaseModel and not part.model_config.get("frozen")] == []


def test_only_what_is_known_is_written(directory: RunDirectory) -> None:
    begun = Manifest(**NEEDED)
    assert begun.to_yaml() == NEEDED
    ended = begun.model_copy(update={"stop_reason": "duration", "prefix_cache": None})
    assert ended.to_yaml() == NEEDED | {"stop_reason": "duration", "prefix_cache": None}


def test_a_masked_or_missing_part_of_the_target_does_not_keep_a_run_from_being_read(directory: RunDirectory) -> None:
    config = resolve({"url": "http://user:secret@h", "api_key": "k", "header": ["A: b"], "dataset": __file__})
    stored = config.public() | {"dataset": "/gone.jsonl", "ca_file": "/gone.pem"}
    directory.write_manifest({"config": stored, "manifest": NEEDED})
    run = manifest.read(directory)
    assert (run.config.url, run.config.dataset) == ("http://***@h", "/gone.jsonl")
    assert run.written_config == stored


def test_an_older_run_without_later_keys_and_with_forgotten_ones_is_evaluated(directory: RunDirectory) -> None:
    old = {
        "url": "http://h",
        "mode": "rate",
        "endpoint": "chat",
        "name": "old",
        "rate": 10.0,
        "seed": 3,
        "requests": 20,
    }
    old |= {"forgotten": 1, "limits": {"errors": {"suspect": 0.5}, "forgotten_band": {"suspect": 1}}}
    directory.write_manifest({"config": old, "manifest": NEEDED | {"forgotten": True}})
    records = [made_record(i, sent_ms=100 * i) for i in range(20)]
    (directory.path / "requests.jsonl").write_bytes(b"".join(map(to_line, records)))
    run = manifest.read(directory)
    assert run.config.load == Rate(rate=10.0, arrivals="poisson", burstiness=1.0, seed=3, cap=None, drop_late=False)
    assert run.config.limits.errors.suspect == 0.5
    assert (run.manifest.workers, run.manifest.notes, run.manifest.died) == (1, (), ())
    result = evaluate(directory)
    assert result.exit is not Exit.TARGET
    assert result.summary.counts.planned == 20
    assert result.summary.run.config == old
    assert result.summary.run.stop_reason == "killed"


@pytest.mark.parametrize(
    ("config", "stored", "sentence"),
    [
        ({"url": "http://h", "mode": "warp"}, NEEDED, "the mode 'warp' is not one of concurrency, rate"),
        ({"url": "http://h", "mode": "rate"}, NEEDED, "--mode rate needs --rate"),
        ({"url": "http://h"}, {"run_id": "a"}, "the manifest in run.yaml is damaged: started, command"),
        ({"url": "http://h"}, NEEDED | {"workers": "two"}, "the manifest in run.yaml is damaged: workers"),
    ],
)
def test_a_damaged_run_is_refused_in_a_sentence(
    config: dict[str, Any], stored: dict[str, Any], sentence: str, directory: RunDirectory
) -> None:
    (directory.path / "run.yaml").write_text(yaml.safe_dump({"config": config, "manifest": stored}))
    with pytest.raises(UsageError, match=sentence):
        manifest.read(directory)


def test_files_of_data_are_known_by_the_sha256_of_their_content(tmp_path: Path) -> None:
    rows, tools, body = (tmp_path / name for name in ("rows.jsonl", "tools.json", "body"))
    rows.write_text('{"prompt": "a"}\n')
    tools.write_text('[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]')
    body.write_text("content")
    digest = {str(file): sha256(file.read_bytes()).hexdigest() for file in (rows, tools, body)}
    url = {"url": "http://h", "concurrency": 1}
    mix = {"classes": [{"name": "c", "share": 1, "dataset": str(rows)}, {"name": "d", "share": 1}]}
    for settings, files in (
        ({"dataset": str(rows)}, {str(rows): digest[str(rows)]}),
        ({"mix": mix}, {str(rows): digest[str(rows)]}),
        ({"tools": str(tools)}, {str(tools): digest[str(tools)]}),
        ({"endpoint": "http", "body": f"@{body}"}, {f"@{body}": digest[str(body)]}),
        ({"endpoint": "http", "body": str(body)}, {}),
        ({"dataset": "chatbot"}, {}),
        ({}, {}),
    ):
        assert data_digests(resolve({**url, **settings})) == files
