"""What a result records about the machine it was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from bench.machine import identity


def test_the_versions_name_python_and_the_measuring_path() -> None:
    found = identity.versions()
    assert found["python"] == platform.python_version()
    assert {"trueload", "httpx", "orjson", "httptools"} <= set(found)
    assert all(found[name] == version(name) for name in found if name not in ("python", "core"))


def test_versions_are_those_that_an_import_would_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for name in ("first/Some_Package-1.2.dist-info", "second/some_package-1.1.dist-info", "second/other-3-4.dist-info",
                 "second/no-package", "second/nodash.dist-info"):  # fmt: skip
        (tmp_path / name).mkdir(parents=True)
    assert identity._installed([str(tmp_path / "gone"), str(first), str(second)]) == {
        "some_package": "1.2", "other": "3-4",
    }  # fmt: skip
    monkeypatch.chdir(first)
    assert identity._installed([""]) == {"some_package": "1.2"}


def test_the_host_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 3 << 18}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    host = identity.host()
    assert host["name"] == platform.node()
    assert host["system"] == f"{platform.system()} {platform.release()}"
    assert host["memory_gib"] == 3
    assert host["processors"] == identity.processors() >= 1
    assert host["cpu"]


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        ("processor\t: 0\nmodel name\t: A CPU: 3 GHz \nmodel name\t: another\n", "A CPU: 3 GHz"),
        ("processor\t: 0\n", "told"),
        (None, "told"),
    ],
)
def test_the_processor_is_the_first_that_the_system_names(
    text: str | None, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> str:
        assert str(path) == "/proc/cpuinfo"
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(identity, "cpu_limit", lambda: None)
    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(platform, "processor", lambda: "told")
    assert identity.host()["cpu"] == cpu


def test_without_a_name_the_processor_is_its_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: "")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert identity.host()["cpu"] == "aarch64"


def test_processors_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr("sys.platform", "linux")
    assert identity.processors() == 3
    monkeypatch.setattr("sys.platform", "darwin")
    assert identity.processors() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert identity.processors() == 1
