"""Days of traffic: schedules of rates, and traces."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.capacity_plan.traffic import Hour, Trace, read_rates, read_schedule, read_trace
from bench.errors import UsageError

LENGTHS = {"input_tokens": "100", "output_tokens": "uniform:5..9"}


def written(folder: Path, content: str) -> Path:
    path = folder / "file"
    path.write_text(content)
    return path


def test_a_row_lasts_until_the_next_one(tmp_path: Path) -> None:
    found = read_rates(written(tmp_path, "time,rate\n# night\n00:00,1.5\n6.5,20\n08:00,0\n"))
    assert found == (Hour(0, 23_400, 1.5), Hour(23_400, 5_400, 20), Hour(28_800, 57_600, 0))


def test_the_last_row_lasts_until_the_day_is_over(tmp_path: Path) -> None:
    assert [hour.duration_s for hour in read_rates(written(tmp_path, "00:00,5\n22:00,100\n"))] == [79_200, 7_200]
    # A schedule of more than a day ends with a part as long as the one before.
    longer = read_rates(written(tmp_path, "0,5\n20,6\n24,7\n"))
    assert [hour.duration_s for hour in longer] == [72_000, 14_400, 14_400]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it has no rate above 0"),
        ("00:00,0\n", "it has no rate above 0"),
        ("08:00,5\n07:00,6\n", "line 2 is '07:00,6': its time must be after that of the line before"),
        ("08:00,5\n08:00,6\n", "line 2 is '08:00,6': its time must be after that of the line before"),
        ("08:00,many\n", "line 1 is '08:00,many'"),
        ("x,3\n08:00,5\n", "line 1 is 'x,3'"),
        ("08:00\n", "write time and requests/s"),
        ("08:00,-1\n", "line 1 is"),
    ],
)
def test_a_bad_schedule_is_refused(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read_rates(written(tmp_path, content))


def test_every_wrong_line_of_a_schedule_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_rates(written(tmp_path, "time,rate\n06:00,1\n# noon\n12:00,many\n05:00,2\n04:00,2\n13:00\n14:00,3\n"))
    assert [problem.partition(": line ")[2][:1] for problem in caught.value.problems] == ["4", "5", "6", "7"]


def test_lengths_that_are_missing_and_a_bad_file_are_said_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_schedule(tmp_path / "none", {"input_tokens": None, "output_tokens": "nothing:5"})
    assert len(caught.value.problems) == 3


def test_arrivals_have_the_rate_and_are_the_same_at_every_rate_but_for_their_speed(tmp_path: Path) -> None:
    day = read_schedule(written(tmp_path, "0,10\n1,20\n"), LENGTHS)
    slow, fast = (day.requests(hour, 200.0, draw=3) for hour in day.hours)
    assert (len(slow.at_us), len(fast.at_us)) == (2_000, 4_000)
    assert slow.at_us[-1] == pytest.approx(200e6, rel=0.1)
    assert [at / 2 for at in slow.at_us[:50]] == pytest.approx(fast.at_us[:50])
    assert set(slow.input_tokens) == {100}
    assert set(slow.output_tokens) == {5, 6, 7, 8, 9}
    assert day.requests(day.hours[0], 200.0, draw=4).at_us != slow.at_us
    assert day.requests(day.hours[0], 200.0, draw=3, times=2.0) == fast


@pytest.mark.parametrize(("burstiness", "variance"), [(0.25, 4.0), (1.0, 1.0), (4.0, 0.25)])
def test_the_gaps_of_a_day_of_bursts_have_their_variance(burstiness: float, variance: float, tmp_path: Path) -> None:
    day = read_schedule(written(tmp_path, "0,10\n"), LENGTHS, burstiness)
    gaps = np.diff(day.requests(day.hours[0], 2_000.0, draw=1).at_us) * 10 / 1e6
    assert (gaps.mean(), gaps.var()) == (pytest.approx(1, rel=0.03), pytest.approx(variance, rel=0.1))


def test_an_hour_of_hardly_a_request_has_one(tmp_path: Path) -> None:
    day = read_schedule(written(tmp_path, "0,0.0001\n"), {"input_tokens": "0", "output_tokens": "0"})
    found = day.requests(day.hours[0], 600.0, draw=0)
    assert (len(found.at_us), found.input_tokens, found.output_tokens) == (1, [1], [1])


@pytest.mark.parametrize(
    ("content", "hours"),
    [
        ("7,5\n", [Hour(25_200, 86_400, 5)]),
        ("\n 06:30 , 5 \n  # noon\n12:00,0\n", [Hour(23_400, 19_800, 5), Hour(43_200, 66_600, 0)]),
        ("hour 1,requests\n", None),
        ("time,5\n", None),
        ("0,999999999\n", [Hour(0, 86_400, 999_999_999)]),
        ("0,1e9\n", None),
        ("6:60,1\n", None),
        ("0,5,6\n", None),
        ("0,nan\n", None),
    ],
)
def test_rows_have_a_time_and_a_rate(content: str, hours: list[Hour] | None, tmp_path: Path) -> None:
    if hours is None:
        with pytest.raises(UsageError, match="line 1 is"):
            read_rates(written(tmp_path, content))
    else:
        assert [*read_rates(written(tmp_path, content))] == hours


def test_a_trace_is_its_own_requests_at_the_busiest_stretch_of_each_hour(tmp_path: Path) -> None:
    times = [*range(0, 3_600, 60), *[5_000 + n / 2 for n in range(40)], 7_300]
    rows = [
        {"timestamp": at * 1e3, "input_length": 600, "output_length": 7, "hash_ids": [1, at]} for at in map(int, times)
    ]
    day = read_trace(written(tmp_path, "\n".join(map(json.dumps, rows))))
    assert [(hour.start_s, hour.rate) for hour in day.hours] == [
        (0, 60 / 3_600),
        (3_600, 40 / 3_600),
        (7_200, 1 / 3_600),
    ]
    found = day.requests(day.hours[1], 10.0, draw=0)
    assert len(found.at_us) == 20
    assert found.at_us[0] == 0
    assert (found.input_tokens, found.output_tokens) == ([600] * 20, [7] * 20)
    assert found.prefix[0] == found.prefix[1]
    assert found.prefix[0][1] == 512
    drawn_together = day.requests(day.hours[1], 10.0, draw=0, times=2.0)
    assert len(drawn_together.at_us) == 40


def trace_of(folder: Path, times_s: Iterable[float]) -> Trace:
    rows = [{"timestamp": at * 1e3, "input_length": 600, "output_length": 7, "hash_ids": [1, 2]} for at in times_s]
    return read_trace(written(folder, "\n".join(map(json.dumps, rows))))


@pytest.mark.parametrize(
    ("times_s", "hours"),
    [
        ((0, 0.5, 1), [Hour(0, 1, 2), Hour(1, 1, 1)]),
        ((10, 12, 3_610), [Hour(150 * part, 150, {0: 2 / 150, 24: 1 / 150}.get(part, 0)) for part in range(25)]),
        ((10, 3_611), [Hour(0, 3_600, 1 / 3_600), Hour(3_600, 3_600, 1 / 3_600)]),
        ((0, 1, 47, 48), [Hour(2 * part, 2, {0: 1, 23: 0.5, 24: 0.5}.get(part, 0)) for part in range(25)]),
    ],
)
def test_a_trace_of_less_than_an_hour_is_cut_into_24_parts_of_a_second_at_least(
    times_s: Iterable[float], hours: list[Hour], tmp_path: Path
) -> None:
    assert list(trace_of(tmp_path, times_s).hours) == hours


def test_the_day_of_a_trace_begins_with_its_first_request_that_has_lengths(tmp_path: Path) -> None:
    rows = [
        {"at_s": at} | ({"input_tokens": 6, "output_tokens": 7} if at else {"prompt": "a"}) for at in (20, 0, 10, 34)
    ]
    day = read_trace(written(tmp_path, "\n".join(map(json.dumps, rows))))
    assert [(hour.start_s, hour.rate) for hour in day.hours if hour.rate] == [(10, 1), (20, 1), (34, 1)]
    assert (len(day.hours), day.left_out) == (25, 1)


def test_the_busiest_stretch_begins_at_the_first_of_the_most_requests_together(tmp_path: Path) -> None:
    day = trace_of(tmp_path, (0, 1.9, 2.1, 2.2, 3_700))
    assert day.requests(day.hours[0], 2.0, draw=0).at_us == pytest.approx([0, 0.2e6, 0.3e6])
    # At twice the traffic, the busiest four seconds are compressed into two.
    assert day.requests(day.hours[0], 2.0, draw=0, times=2.0).at_us == pytest.approx([0, 0.95e6, 1.05e6, 1.1e6])


def test_a_stretch_ends_before_the_request_that_is_as_long_after_its_first(tmp_path: Path) -> None:
    day = trace_of(tmp_path, (0, 1, 2, 10, 11, 11.5, 12))
    assert day.requests(Hour(0, 60, 1), 2.0, draw=0).at_us == [0, 1e6, 1.5e6]


def test_requests_without_a_shared_prefix_are_each_a_group_of_their_own(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"timestamp": at, "input_length": 600, "output_length": 7} for at in range(3)]
    rows += [{**row, "timestamp": 5, "hash_ids": [group, 9]} for row, group in zip(rows, (1, 1, 2), strict=True)]
    found = read_trace(written(tmp_path, "\n".join(map(json.dumps, rows)))).requests(Hour(0, 60, 1), 60.0, draw=0)
    assert found.prefix[:3] == [(0, 0), (1, 0), (2, 0)]
    groups = [group for group, _ in found.prefix]
    assert (len(set(groups)), groups[3]) == (5, groups[4])
    assert [tokens for _, tokens in found.prefix[3:]] == [512] * 3
    assert min(groups[3:]) > 1_000_000


def test_a_trace_without_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its rows need a time"):
        read_trace(written(tmp_path, '{"input_tokens": 5, "output_tokens": 5}\n'))
    with pytest.raises(UsageError, match="its rows need a time"):
        trace_of(tmp_path, (3,))
    assert len(trace_of(tmp_path, (3, 3)).rows) == 2


def test_columns_and_bad_rows_are_those_of_a_data_set(tmp_path: Path) -> None:
    rows = [{"when": at, "in": 600, "out": 7} for at in range(4)]
    path = written(tmp_path, "\n".join([*map(json.dumps, rows), '{"in": 3, "out": 2}', "[]"]))
    with pytest.raises(UsageError, match="with --bad-rows skip"):
        read_trace(path)
    with pytest.raises(UsageError, match="--columns: 'x=y'"):
        read_trace(path, "x=y")
    day = read_trace(path, "at_s=when,input_tokens=in,output_tokens=out", "skip")
    assert ([row.at_s for row in day.rows], day.left_out) == ([0, 1, 2, 3], 2)


def test_a_request_at_the_border_of_two_hours_belongs_to_the_later_one(tmp_path: Path) -> None:
    day = trace_of(tmp_path, (0, 3_600, 7_200))
    assert [len(day.requests(hour, hour.duration_s, draw=0).at_us) for hour in day.hours] == [1, 1, 1]
