"""What a tokenizer answered once is remembered for the next process, which makes the same prompts without the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptset import distributions, library
from promptset.kinds import Style
from promptset.library import Library, Remembered
from promptset.outline import PromptMaker
from promptset.samples import Sample
from promptset.simulated import simulated_prompts
from promptset.tokenizer import LocalTokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers


class Shelf:
    """A memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Any] = {}

    def read(self, name: str, made_of: str) -> object:
        return self.kept.get((name, made_of))

    def write(self, name: str, made_of: str, value: object) -> None:
        self.kept[name, made_of] = value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path / "tokenizer")


def remembered(spec: Path | None, memory: Shelf) -> tuple[LocalTokenizer, Remembered]:
    """As a new process has it."""
    tokenizer = load_tokenizer(None if spec is None else str(spec), memory=memory)
    assert isinstance(tokenizer, LocalTokenizer)
    backend = tokenizer._backend
    assert isinstance(backend, Remembered)
    return tokenizer, backend


def samples(tokenizer: LocalTokenizer, *, chat: bool, text: str = "words", seed: int = 5) -> list[Sample]:
    made = simulated_prompts(
        tokenizer,
        input_tokens=distributions.parse("uniform:40..90", "tokens"),
        output_tokens=distributions.parse(8, "tokens"),
        chat=chat,
        seed=seed,
        salt="a" if chat else None,
        style=Style(text),
    )
    assert made.maker.head >= 0
    return [made.sample_at(number) for number in range(20)]


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("embedded", [True, False])
def test_a_second_process_makes_the_same_prompts_without_the_library(folder: Path, embedded: bool, chat: bool) -> None:
    if not embedded:
        chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        (folder / "chat_template.jinja").write_text(chat_template)
    spec, memory = None if embedded else folder, Shelf()
    first, loaded = remembered(spec, memory)
    made = samples(first, chat=chat)
    assert loaded.loaded
    loaded.write()

    second, backend = remembered(spec, memory) if spec is not None else _again(memory)
    again = samples(second, chat=chat)

    assert not backend.loaded
    assert again == made == samples(_plain(spec), chat=chat)
    counted = [
        second.count_chat(list(sample.messages)) if sample.messages is not None else second.count(sample.prompt or "")
        for sample in again
    ]
    assert counted == [sample.input_tokens for sample in again]
    assert backend.loaded, "prompts were counted without the library"


def _plain(spec: Path | None) -> LocalTokenizer:
    tokenizer = load_tokenizer(None if spec is None else str(spec))
    assert isinstance(tokenizer, LocalTokenizer)
    assert isinstance(tokenizer._backend, Library)
    return tokenizer


def _again(memory: Shelf) -> tuple[LocalTokenizer, Remembered]:
    """The embedded tokenizer, which a process has once, as another process with the same memory has it."""
    other = Shelf()
    other.kept = memory.kept
    return remembered(None, other)


def test_another_seed_and_another_length_need_no_library_either(folder: Path) -> None:
    memory = Shelf()
    first, loaded = remembered(folder, memory)
    samples(first, chat=False)
    loaded.write()

    second, backend = remembered(folder, memory)
    made = samples(second, chat=False, seed=6)

    assert not backend.loaded
    assert [second.count(sample.prompt or "") for sample in made] == [sample.input_tokens for sample in made]


def test_texts_that_have_to_be_counted_one_by_one_are_counted_by_the_library(folder: Path) -> None:
    memory = Shelf()
    first, loaded = remembered(folder, memory)
    made = samples(first, chat=False, text="code")
    before = len(loaded._answers)
    samples(first, chat=False, text="code", seed=7)
    loaded.write()
    assert len(loaded._answers) == before, "a prompt of one run was kept for ever"

    second, backend = remembered(folder, memory)
    assert samples(second, chat=False, text="code") == made
    assert backend.loaded


def test_what_is_asked_of_a_system_prompt_which_every_run_has_anew_is_not_kept(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    tokenizer, backend = remembered(folder, Shelf())
    kept = []
    for salt in ("a", "b", "c"):
        maker = PromptMaker(tokenizer, chat=True, seed=0, salt=salt, system_tokens=20)
        assert maker.head > 0
        maker.make(80, (), 0)
        kept.append(len(backend._answers))

    assert kept[0] == kept[1] == kept[2]


def test_a_file_that_changed_is_asked_anew(folder: Path) -> None:
    memory = Shelf()
    tokenizer, loaded = remembered(folder, memory)
    samples(tokenizer, chat=False)
    loaded.write()
    file = folder / "tokenizer.json"
    file.write_text(file.read_text() + "\n")  # Of equal meaning; but only equal bytes are known to be.

    _, backend = remembered(folder, memory)

    assert backend.loaded
    assert not backend._known


@pytest.mark.parametrize("what", ["configuration", "template", "library", "form"])
def test_whatever_else_counts_are_made_of_is_asked_anew(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Shelf()
    _, loaded = remembered(folder, memory)
    loaded.write()
    if what == "configuration":
        (folder / "tokenizer_config.json").write_text('{"pad_token": "the"}')
    elif what == "template":
        (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    elif what == "library":
        monkeypatch.setattr("promptset.tokens.library_stamp", lambda: "another")
    else:
        monkeypatch.setattr("promptset.tokens.FORM", library.FORM + 1)

    _, backend = remembered(folder, memory)

    assert backend.loaded
    assert not backend._known


def test_the_library_says_by_its_files_what_it_is() -> None:
    stamp = library.library_stamp()
    assert stamp is not None
    assert "tokenizers" in stamp


def test_where_the_library_does_not_say_what_it_is_nothing_is_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptset.tokens.library_stamp", lambda: None)
    tokenizer = load_tokenizer(str(folder), memory=Shelf())
    assert isinstance(tokenizer, LocalTokenizer)
    assert isinstance(tokenizer._backend, Library)


def test_without_a_memory_the_library_is_loaded_at_once(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    assert isinstance(tokenizer, LocalTokenizer)
    assert isinstance(tokenizer._backend, Library)


def test_special_tokens_are_known_to_a_library_that_is_loaded_later() -> None:
    memory, tokens = Shelf(), ["<extra>"]

    def load() -> Library:
        return Library(tiny_tokenizers.byte_level_bpe())

    one = Remembered(load, memory, "name", "1")
    one.add_special_tokens(tokens)
    assert one.count(["<extra>"], added=False) == [1]
    plain = Remembered(load, memory, "name", "1")
    assert plain.count(["<extra>"], added=False) != [1]


def test_a_question_with_other_special_tokens_is_another_one() -> None:
    memory = Shelf()

    def ask(tokens: list[str]) -> list[int]:
        backend = Remembered(lambda: Library(tiny_tokenizers.byte_level_bpe()), memory, "name", "1")
        backend.add_special_tokens(tokens)
        with backend.remembering():
            counted = backend.count(["<extra>"], added=False)
        backend.write()
        return counted

    assert ask(["<extra>"]) == [1]
    assert ask([]) != [1]


def counting(loads: list[int]) -> Callable[[], Library]:
    def load() -> Library:
        loads.append(1)
        return Library(tiny_tokenizers.byte_level_bpe())

    return load


def test_questions_are_told_apart_by_all_that_is_in_them() -> None:
    backend = Remembered(counting([]), Shelf(), "name", "1")
    with backend.remembering():
        assert backend.count(["a", "b"], added=False) == [1, 1]
        assert backend.count(["ab"], added=False) != [1, 1]
        assert backend.encode("a", True) == [0, *backend.encode("a", False)]
        assert backend.parts("a b") == ["a", " b"]
    assert len(backend._answers) == 5


def test_too_much_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MOST_ANSWERS", 2)
    memory = Shelf()
    for texts in (["a"], ["b"], ["c"]):
        backend = Remembered(counting([]), memory, "name", "1")
        with backend.remembering():
            backend.count(texts, added=False)
        backend.write()

    assert len(memory.kept["name", "1"]) == 1
    monkeypatch.setattr(library, "MOST_VALUES", 1)
    backend = Remembered(counting([]), memory, "name", "1")
    with backend.remembering():
        backend.count(["a", "b"], added=False)
    backend.write()
    assert len(memory.kept["name", "1"]) == 1


def test_what_a_memory_holds_that_is_none_of_ours_is_not_believed() -> None:
    memory, loads = Shelf(), list[int]()
    memory.kept["name", "1"] = ["not", "answers"]
    backend = Remembered(counting(loads), memory, "name", "1")
    with backend.remembering():
        assert backend.count(["a"], added=False) == [1]
    assert loads == [1]


def test_getting_ready_loads_the_library_once() -> None:
    loads: list[int] = []
    backend = Remembered(counting(loads), Shelf(), "name", "1")
    assert not loads
    backend.get_ready()
    backend.get_ready()
    backend.decode([0])
    assert loads == [1]
    assert backend.loaded
