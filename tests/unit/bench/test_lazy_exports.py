"""A package's exports are imported on first use."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import bench
from bench.lazy_exports import lazy_exports


def test_every_name_that_the_package_exports_is_there() -> None:
    for name in bench.__all__:
        if name != "SCHEMA":
            assert getattr(bench, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'nothing'"):
        _ = bench.nothing


def test_a_module_is_loaded_by_the_first_use_of_its_name() -> None:
    export = lazy_exports("here", {"Decoder": "json.decoder", "dumps": "json"})
    assert export("dumps") is importlib.import_module("json").dumps
    with pytest.raises(AttributeError, match=r"module 'json.decoder' has no attribute 'Decoder'"):
        export("Decoder")


@pytest.mark.processes
def test_an_import_of_a_package_loads_none_of_what_it_exports() -> None:
    look = "import sys, bench; print(sorted(name for name in sys.modules if 'bench' in name))"
    ended = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['bench', 'bench.lazy_exports']"
