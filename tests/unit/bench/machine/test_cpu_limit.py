"""The processor time limit of control groups, of both versions and of their parents."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.machine import identity
from bench.machine.cpu_limit import cpu_limit

V1 = "4:cpuset:/pod\n3:cpu,cpuacct:/pod/box\n1:name=systemd:/cpu\n0::/\n"


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/pod/box\n", {"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "250000 100000\n"}, 2.5),
        ("0::/pod/box\n", {"pod/box/cpu.max": "100000 100000\n", "pod/cpu.max": "250000 100000\n"}, 1.0),
        ("0::/gone\n", {"cpu.max": "150000 50000\n"}, 3.0),
        ("0::/\n", {"unified/cpu.max": "20000 100000\n"}, 0.2),
        (V1, {"cpu,cpuacct/pod/box/cpu.cfs_quota_us": "30000\n", "cpu,cpuacct/pod/box/cpu.cfs_period_us": "100000\n"}, 0.3),
        (V1, {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpuset/cpu.cfs_quota_us": "30000\n", "cpuset/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu/cpu.cfs_quota_us": "30000\n", "cpu/cpu.cfs_period_us": "0\n"}, None),
        ("0::/\n", {"cpu.max": "odd\n"}, None),
        ("odd\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("", {"cpu.max": "50000 100000\n"}, None),
        (None, {"cpu.max": "50000 100000\n"}, None),
    ],
)  # fmt: skip
def test_the_least_limit_of_the_groups_of_a_process(
    own: str | None, files: dict[str, str], limit: float | None, tmp_path: Path
) -> None:
    groups, listed = tmp_path / "groups", tmp_path / "own"
    for name, content in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)
    if own is not None:
        listed.write_text(own)
    assert cpu_limit(groups, listed) == limit


@pytest.mark.parametrize(
    ("limit", "processors", "told"), [(0.5, 1, "0.5"), (2.9, 2, "2.9"), (9.0, 4, "9"), (None, 4, None)]
)
def test_a_limit_is_a_fact_of_the_machine_and_bounds_its_processors(
    limit: float | None, processors: int, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "cpu_limit", lambda: limit)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert identity.processors() == processors
    assert identity.host().get("cpu_limit") == told
