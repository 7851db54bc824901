"""What a result says of the machine it was measured on."""

from __future__ import annotations

import platform
from importlib.metadata import version

from bench.machine import identity


def test_the_versions_name_python_and_the_measuring_path() -> None:
    found = identity.versions()
    assert found["python"] == platform.python_version()
    assert {"trueload", "httpx", "orjson", "httptools"} <= set(found)
    assert all(found[name] == version(name) for name in found if name not in ("python", "core"))


def test_the_host_is_described() -> None:
    host = identity.host()
    assert {"name", "system", "cpu", "processors"} <= set(host)
    assert int(host["processors"]) >= 1
    assert host["cpu"]
