"""What a package exports is imported when it is first used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from bench.lazy_exports import lazy_exports


@pytest.mark.parametrize("package", ["bench", "bench.accuracy", "bench.dispatch"])
def test_every_name_that_a_package_exports_is_there(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        if name != "SCHEMA":
            assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


def test_a_module_is_loaded_by_the_first_use_of_its_name() -> None:
    export = lazy_exports("here", {"Decoder": "json.decoder", "dumps": "json"})
    assert export("dumps") is importlib.import_module("json").dumps
    with pytest.raises(AttributeError, match=r"module 'json.decoder' has no attribute 'Decoder'"):
        export("Decoder")


@pytest.mark.processes
def test_an_import_of_a_package_loads_none_of_what_it_exports() -> None:
    look = "import sys, bench.dispatch, bench.accuracy; print(sorted(name for name in sys.modules if 'bench' in name))"
    ended = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['bench', 'bench.accuracy', 'bench.dispatch', 'bench.lazy_exports']"
