"""Endpoints from other packages: the example is found by its entry point, and problems of a package are reported."""

from __future__ import annotations

import pickle
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from bench.config import resolve
from bench.endpoints import choice
from bench.endpoints.interface import BodyOptions, ReadOptions
from bench.endpoints.urls import url_of
from bench.errors import UsageError
from promptset.samples import Sample
from tests.support.documentation import ROOT

EXAMPLE = ROOT / "examples" / "endpoint-package"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of installed packages."""
    forget()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    forget()
    sys.modules.pop("trueload_upper", None)


def forget() -> None:
    choice.installed.cache_clear()
    choice.loaded.cache_clear()


def install(site: Path, name: str, points: dict[str, str]) -> None:
    """The metadata written by an installer."""
    folder = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [f"{key} = {value}" for key, value in points.items()]
    (folder / "entry_points.txt").write_text("\n".join([f"[{choice.GROUP}]", *lines, ""]))


def install_example(site: Path) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copy(EXAMPLE / "trueload_upper.py", site)
    install(site, project["name"], project["entry-points"][choice.GROUP])


def test_the_example_is_an_endpoint_once_it_is_installed(site: Path) -> None:
    install_example(site)
    config = resolve({"url": "http://h:1", "endpoint": "upper"})
    endpoint = choice.endpoint_of(config)
    assert url_of(config.url, endpoint) == "http://h:1/shout"
    assert choice.key_variable("http://h", "upper") == "SHOUT_KEY"
    assert "upper" in choice.names()
    own = choice.own_endpoint(config)
    assert own is endpoint
    assert type(pickle.loads(pickle.dumps(own))) is type(own)
    encoded = endpoint.encode(Sample(prompt="hi", output_tokens=3), BodyOptions(endpoint="upper", model=None))
    assert orjson.loads(encoded.body) == {"say": "HI", "words": 3}
    assert (encoded.stream, encoded.output_tokens_asked) == (True, 3)
    reader = endpoint.event_reader(ReadOptions())
    reader.feed([b"A", b" B"])
    assert reader.close().chunk_kind == "cc"
    assert endpoint.read_whole(b"A B", ReadOptions()).text == "A B"


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ("no_such_module:Upper", "the endpoint other of the package wrong cannot be loaded: No module named"),
        ("pathlib:Path", "pathlib:Path of the package wrong is not a bench.endpoints.interface.Endpoint"),
        ("bench.endpoints:DEFAULT", "bench.endpoints:DEFAULT of the package wrong is no"),
    ],
)
def test_a_package_that_has_no_endpoint_is_named(site: Path, point: str, words: str) -> None:
    install(site, "wrong", {"other": point})
    with pytest.raises(UsageError, match=words):
        resolve({"url": "http://h:1", "endpoint": "other"})


def test_a_package_cannot_take_the_name_of_an_endpoint_of_ours(site: Path) -> None:
    install(site, "wrong", {"chat": "no_such_module:Chat"})
    assert resolve({"url": "http://h:1", "endpoint": "chat"}).endpoint == "chat"
    assert "chat" not in choice.installed()


def test_without_the_package_its_runs_are_refused_in_one_sentence(site: Path) -> None:
    install_example(site)
    stored = resolve({"url": "http://h:1", "endpoint": "upper"})
    content = stored.public()
    shutil.rmtree(site / "trueload_upper-0.1.0.dist-info")
    forget()
    with pytest.raises(UsageError, match="'upper' is not one of chat"):
        type(stored).stored(content)
