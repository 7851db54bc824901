"""A series of runs. Each is an ordinary run directory; finished runs are kept, interrupted ones are moved aside."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.config import RunConfig, resolve
from bench.errors import UsageError
from bench.run_files.run_directory import MANIFEST, REQUESTS
from bench.series.runs import RunSeries
from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import LiteralServer


def config_of(url: str) -> RunConfig:
    return resolve({"url": url, "model": "m", "requests": 3, "concurrency": 1, "output_tokens": "3", "quiet": True})


def test_a_finished_run_is_read_again_and_not_run_again(tmp_path: Path) -> None:
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        config = config_of(server.url)
        series = RunSeries(tmp_path / "series")
        assert series.finished("a") is None
        measured = series.run("a", config)
        assert measured.directory.path == tmp_path / "series" / "a"
        found = RunSeries(tmp_path / "series").finished("a")
        with pytest.raises(UsageError, match="already holds a finished run"):
            series.run("a", config)
    assert found is not None
    assert found.summary == measured.summary
    assert found.summary.counts.succeeded == 3


@pytest.mark.parametrize("stopped", [None, "interrupted"])
def test_a_run_that_was_cut_off_is_moved_aside_and_run_again(tmp_path: Path, stopped: str | None) -> None:
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        series = RunSeries(tmp_path)
        for again in range(3):
            series.run("a", config_of(server.url))
            assert len([path for path in tmp_path.iterdir() if path.name != "a"]) == again
            manifest = tmp_path / "a" / MANIFEST
            content = yaml.safe_load(manifest.read_text())
            content["manifest"]["stop_reason"] = stopped
            manifest.write_text(yaml.safe_dump(content))
            assert series.finished("a") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a-cut-off-1", "a-cut-off-2"]
    assert len((tmp_path / "a-cut-off-1" / REQUESTS).read_text().splitlines()) == 3


def test_a_directory_without_a_manifest_is_moved_aside_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / REQUESTS).touch()
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        result = RunSeries(tmp_path).run("a", config_of(server.url))
    assert not result.interrupted
    assert (tmp_path / "a-cut-off-1" / REQUESTS).exists()


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"\(it is a file\): name another directory"):
        RunSeries(tmp_path / "file")
