"""What the console asks the packages of the hubs, without the packages; and how many data sets it loads and lists."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.console import hub_loads, hubs
from bench.console.data_files import MOST_UPLOADED
from bench.console.errors import Conflict, ConsoleError, NotFound, TooLarge
from bench.console.hub_loads import CANCELLED, FAILED, KEEPING, KEPT, LOADING, LOOKING_UP, HubLoad, HubLoads
from bench.console.hubs import HUBS, HubFile

FILE = HubFile("huggingface", "http://hub", "lab/rows", "data/a.jsonl", 5)


class Asked:
    """A stand-in for a package: notes the arguments, and gives each of its functions one answer."""

    def __init__(self, **answers: object) -> None:
        self.arguments: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[..., object]:
        def function(*values: object, **named: object) -> object:
            self.arguments.append((name, values, named))
            return self._answers.get(name, self)

        return function


def test_hugging_face_is_asked_without_a_token_and_for_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = [SimpleNamespace(rfilename="a", size=7), SimpleNamespace(rfilename="b", size=None)]
    package = Asked(dataset_info=SimpleNamespace(siblings=siblings), hf_hub_download="/f/a")
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    hub = HUBS["huggingface"]
    assert hub.sizes("http://hub", "lab/rows") == {"a": 7, "b": 0}
    assert hub.download("http://hub", "lab/rows", "a", Path("/f")) == Path("/f/a")
    made = ("HfApi", (), {"endpoint": "http://hub", "token": False})
    assert package.arguments == [
        made, ("dataset_info", ("lab/rows",), {"files_metadata": True, "timeout": 10}),
        made, ("hf_hub_download", ("lab/rows", "a"), {"repo_type": "dataset", "local_dir": Path("/f")}),
    ]  # fmt: skip
    nothing = Asked(dataset_info=SimpleNamespace(siblings=None))
    monkeypatch.setitem(sys.modules, "huggingface_hub", nothing)
    assert hub.sizes("http://hub", "lab/rows") == {}


def test_modelscope_is_asked_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Asked(list_repo_files=[SimpleNamespace(path="a", size=7)], download_file="/f/a")
    monkeypatch.setitem(sys.modules, "modelscope_hub", package)
    hub = HUBS["modelscope"]
    assert hub.sizes("http://hub", "lab/rows") == {"a": 7}
    assert hub.download("http://hub", "lab/rows", "a", Path("/f")) == Path("/f/a")
    made = ("HubApi", (), {"endpoint": "http://hub", "token": ""})
    assert package.arguments == [
        made, ("list_repo_files", ("lab/rows", "dataset"), {}),
        made, ("download_file", ("lab/rows", "dataset", "a"), {"local_dir": Path("/f")}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("hub", "variable", "usual"),
    [
        ("huggingface", "HF_ENDPOINT", "https://huggingface.co"),
        ("modelscope", "MODELSCOPE_ENDPOINT", "https://modelscope.cn"),
    ],
)
@pytest.mark.parametrize("value", [None, "", "http://mirror"])
def test_a_mirror_replaces_the_hub(
    hub: str, variable: str, usual: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    assert HUBS[hub].endpoint() == (value or usual)


@pytest.mark.parametrize(("size_bytes", "right"), [(MOST_UPLOADED, True), (MOST_UPLOADED + 1, False)])
def test_a_file_of_a_hub_may_have_two_gib(size_bytes: int, right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = hubs.Hub("Lab", "json", lambda: "http://lab", lambda *_: {"a.csv": size_bytes}, lambda *_: Path())
    monkeypatch.setitem(HUBS, "lab", hub)
    monkeypatch.setattr(hubs, "why_unreachable", lambda endpoint: None)
    if right:
        assert hubs.look_up("lab", "lab/rows", None) == HubFile("lab", "http://lab", "lab/rows", "a.csv", size_bytes)
    else:
        with pytest.raises(TooLarge) as refused:
            hubs.look_up("lab", "lab/rows", None)
        assert str(refused.value) == "a.csv of lab/rows has more than 2 GiB"


class Files:
    """Takes each file at once, or when it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.may.set()
        self.taken: list[str] = []

    def take(self, name: str, path: Path, rows: object) -> list[str]:
        self.taken.append(path.read_text())
        assert self.may.wait(60)
        return [name]


class Hub:
    """A hub whose files are found, and downloaded, when they may be."""

    def __init__(self) -> None:
        self.answers, self.sends = threading.Event(), threading.Event()
        self.looking, self.sending = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def look_up(self, source: str, name: str, file: str | None) -> HubFile:
        self.looking.set()
        assert self.answers.wait(60)
        if self.error is not None:
            raise self.error
        return FILE

    def download(self, job: Any, hub_file: HubFile, aside: Path) -> Path:
        (aside / "a.jsonl").write_text("12345")
        (aside / "lock").write_text("1234567890")
        self.sending.set()
        assert self.sends.wait(60)
        (aside / "lock").unlink()
        return aside / "a.jsonl"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    monkeypatch.setattr(hub_loads, "ensure_askable", lambda source, name: None)
    monkeypatch.setattr(hub_loads, "look_up", hub.look_up)
    monkeypatch.setattr(hub_loads, "_downloaded", hub.download)
    yield hub
    hub.answers.set()
    hub.sends.set()


def begun(loads: HubLoads, number: int = 1) -> list[HubLoad]:
    return [loads.begin("huggingface", "lab/rows", None) for _ in range(number)]


def ended(loads: HubLoads, names: Sequence[str]) -> list[str]:
    return [loads.load(name, wait_s=60).state for name in names]


def test_a_load_goes_through_its_states_with_the_bytes_so_far(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [7_000_000_000]
    monkeypatch.setattr(hub_loads, "now_ns", lambda: now[0])
    files: Any = Files()
    loads = HubLoads(tmp_path / "new" / "folder", files)
    (load,) = begun(loads)
    assert (load.id, load.hub, load.name, load.file) == ("1", "huggingface", "lab/rows", None)
    assert (load.state, load.received_bytes, load.size_bytes, load.elapsed_s) == (LOOKING_UP, 0, None, 0.0)
    now[0] += 2_449_000_000
    assert loads.load("1").elapsed_s == 2.4
    hub.answers.set()
    assert hub.sending.wait(60)
    half = loads.load("1")
    # Other files of the package lie there too: never more than the file has.
    assert (half.state, half.file, half.received_bytes, half.size_bytes) == (LOADING, "data/a.jsonl", 5, 5)
    files.may.clear()
    hub.sends.set()
    while not files.taken:
        assert loads.load("1", wait_s=0.01).goes_on
    whole = loads.load("1")
    assert (whole.state, whole.received_bytes, whole.goes_on) == (KEEPING, 5, True)
    with pytest.raises(Conflict) as refused:
        loads.remove("1")
    assert str(refused.value) == "lab/rows has arrived whole: delete its file in a moment"
    files.may.set()
    assert loads.loaded("1") == ("lab-rows-a.jsonl",)
    last = loads.load("1")
    assert (last.state, last.names, last.problem, last.goes_on) == (KEPT, ("lab-rows-a.jsonl",), None, False)
    now[0] += 60_000_000_000
    assert loads.load("1") == last
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_link_into_the_cache_of_a_package_is_copied(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cached").write_text("rows")

    def download(job: object, hub_file: HubFile, aside: Path) -> Path:
        (aside / "a.jsonl").symlink_to(tmp_path / "cached")
        return aside / "a.jsonl"

    kinds: list[bool] = []

    def take(name: str, path: Path, rows: object) -> list[str]:
        kinds.append(path.is_symlink())
        return [path.read_text()]

    monkeypatch.setattr(hub_loads, "_downloaded", download)
    files: Any = SimpleNamespace(take=take)
    loads = HubLoads(tmp_path, files)
    hub.answers.set()
    assert (loads.loaded(begun(loads)[0].id), kinds) == (("rows",), [False])
    assert (tmp_path / "cached").read_text() == "rows"


def test_four_data_sets_are_loaded_at_once_in_threads_that_keep_no_console_alive(hub: Hub, tmp_path: Path) -> None:
    before = {*threading.enumerate()}
    files: Any = Files()
    loads = HubLoads(tmp_path, files)
    names = [load.id for load in begun(loads, 4)]
    assert names == ["1", "2", "3", "4"]
    assert {thread.daemon for thread in {*threading.enumerate()} - before} == {True}
    with pytest.raises(TooLarge) as refused:
        begun(loads)
    assert str(refused.value) == "4 data sets are being loaded: wait for one, or cancel it"
    loads.remove("2")
    assert begun(loads)[0].id == "5"
    hub.answers.set()
    hub.sends.set()
    assert ended(loads, ["1", "2", "3", "4", "5"]) == [KEPT, CANCELLED, KEPT, KEPT, KEPT]


def test_the_last_20_loads_are_listed_and_each_that_goes_on(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: Any = Files()
    loads = HubLoads(tmp_path, files)
    begun(loads)  # It goes on all the time.
    hub.looking.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(hub_loads, "look_up", lambda *asked: FILE)
        hub.sends.set()
        for number in range(2, 23):
            assert ended(loads, [load.id for load in begun(loads)]) == [KEPT], number
    assert [load.id for load in loads.listed()] == ["1", *(str(number) for number in range(3, 23))]
    with pytest.raises(NotFound) as refused:
        loads.load("2")
    assert str(refused.value) == "there is no load '2': it was dismissed"
    loads.remove("3")
    assert [load.id for load in loads.listed()][:2] == ["1", "4"]


def test_a_cancelled_load_stays_cancelled_whatever_its_hub_answers(hub: Hub, tmp_path: Path) -> None:
    files: Any = Files()
    loads = HubLoads(tmp_path, files)
    first, second = (load.id for load in begun(loads, 2))
    hub.error = ConsoleError("no such data set")
    loads.remove(first)
    with pytest.raises(ConsoleError, match=r"^lab/rows was cancelled$"):
        loads.loaded(first)
    hub.answers.set()
    with pytest.raises(ConsoleError, match=r"^no such data set$"):
        loads.loaded(second)
    states = [(loads.load(name).state, loads.load(name).problem) for name in (first, second)]
    assert states == [(CANCELLED, None), (FAILED, "no such data set")]


def test_a_console_that_ends_cancels_what_goes_on_and_kills_its_programs(hub: Hub, tmp_path: Path) -> None:
    files: Any = Files()
    loads = HubLoads(tmp_path, files)
    (first,) = begun(loads)
    hub.answers.set()
    hub.sends.set()
    assert ended(loads, [first.id]) == [KEPT]
    hub.sends.clear()
    hub.sending.clear()
    (second,) = begun(loads)
    assert hub.sending.wait(60)
    killed: list[str] = []
    process: Any = SimpleNamespace(kill=lambda: killed.append("it"))
    loads._jobs[second.id].process = process
    loads.close()
    assert [load.state for load in loads.listed()] == [KEPT, CANCELLED]
    assert killed == ["it"]
