"""The runs of a series: which are made, their output, the rest between them, and the lock of their directory."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.clock import NS_PER_S
from bench.config import resolve
from bench.errors import Interrupted, UsageError
from bench.run_files.run_directory import is_locked
from bench.series.files import stamp
from bench.series.runs import REAL_TIME, RunSeries, aside
from tests.support.made_runs import made_run
from tests.support.made_series import MadeSeries, Noting

CONFIG = resolve({"url": "http://127.0.0.1:8000", "concurrency": 1, "requests": 2})


class SetTime:
    """A clock that only a wait moves."""

    def __init__(self) -> None:
        self.now = 100 * NS_PER_S

    def now_ns(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * NS_PER_S)


def test_a_run_is_made_and_a_finished_one_is_read_again_and_each_has_its_line(tmp_path: Path) -> None:
    noting = Noting()
    series = MadeSeries(tmp_path, before={"a"}, observer=noting)
    again = series.make("a", CONFIG, before="a is made", again="a is there")
    now = series.make("b", CONFIG, before="b is made", again="b is there")
    series.make("c", CONFIG)
    assert noting.lines == ["a is there", "b is made"]
    assert [config.out for config in series.made] == [str(tmp_path / "b"), str(tmp_path / "c")]
    assert (again.began_ns, again.took_ns) == (None, 0)
    assert now.began_ns is not None
    assert now.result.directory.path == tmp_path / "b"


def test_a_run_that_ctrl_c_ended_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="is not complete"):
        MadeSeries(tmp_path, at={"a": "interrupted"}).make("a", CONFIG)


def test_what_was_cut_off_gets_the_first_free_name(tmp_path: Path) -> None:
    assert aside(tmp_path / "a") == tmp_path / "a-cut-off-1"
    (tmp_path / "a-cut-off-1").mkdir()
    assert aside(tmp_path / "a") == tmp_path / "a-cut-off-2"


def test_a_server_rests_from_an_instant_on(tmp_path: Path) -> None:
    time = SetTime()
    series = RunSeries(tmp_path, time=time)
    series.rest(time.now - NS_PER_S // 2, 2.0)
    assert time.now == 101.5 * NS_PER_S
    series.rest(time.now - 3 * NS_PER_S, 2.0)
    assert time.now == 101.5 * NS_PER_S


def test_a_wait_lasts_as_long_as_asked_for_and_none_ends_at_once() -> None:
    began_ns = REAL_TIME.now_ns()
    REAL_TIME.wait(-5.0)
    REAL_TIME.wait(0.0)
    REAL_TIME.wait(0.02)
    # System timers are exact to a millisecond or better.
    assert REAL_TIME.now_ns() - began_ns >= 0.019 * NS_PER_S


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_the_directory_is_made_and_locked_while_the_series_goes_on(tmp_path: Path) -> None:
    series = RunSeries(tmp_path / "new")
    with series.held():
        assert is_locked(series.path)
    assert not is_locked(series.path)
    (tmp_path / "file").touch()
    series.path = tmp_path / "file"
    with pytest.raises(UsageError, match="it is a file"), series.held():
        pass


def test_a_series_does_not_go_on_with_changed_data(tmp_path: Path) -> None:
    data, tools = tmp_path / "rows.jsonl", tmp_path / "tools.json"
    for file in (data, tools):
        file.write_text("{}")
    digests = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in (data, tools)}
    gone = {str(tmp_path / "gone"): "0" * 64}  # A run that needs it will report it.
    made_run(tmp_path / "s" / "01", data_sha256={**digests, **gone})
    with RunSeries(tmp_path / "s").held():
        pass
    made_run(tmp_path / "s" / "cut-off", stop_reason="interrupted", data_sha256={str(data): "0" * 64})
    with RunSeries(tmp_path / "s").held():
        pass
    data.write_text("{1}")
    advice = "give the same data, or name another --out"
    assert _refused(tmp_path / "s") == [f"{tmp_path}/s/01 was made with another content of {data}: {advice}"]
    tools.write_text("{1}")
    made_run(tmp_path / "s" / "02", data_sha256={str(tools): digests[str(tools)]})
    both = f"{tmp_path}/s/01 and 1 more were made with another content of {data}, {tools}: {advice}"
    assert _refused(tmp_path / "s") == [both]
    made_run(tmp_path / "race" / "r1-a0-search" / "01", data_sha256={f"@{data}": "0" * 64})
    [of_race] = _refused(tmp_path / "race")
    assert f"another content of @{data}" in of_race


def _refused(path: Path) -> Sequence[str]:
    with pytest.raises(UsageError) as refused, RunSeries(path).held():
        pass
    return refused.value.problems


def test_a_stamp_says_when_by_which_version_and_where() -> None:
    assert {*stamp()} == {"date", "version", "host"}
    assert stamp()["version"]


def test_a_series_whose_directory_is_removed_meanwhile_says_so(tmp_path: Path) -> None:
    series = RunSeries(tmp_path / "series")

    def write_after_a_removal() -> None:
        series.path.rmdir()
        (series.path / "sweep.json").write_bytes(b"{}")

    with pytest.raises(UsageError, match="series was removed while results were written to it"), series.held():
        write_after_a_removal()
