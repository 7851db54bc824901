"""Tokenizers with few words or with tokens across spaces: prompts, chats and sessions are still exact."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import pytest
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from promptset import sentences, text
from promptset.chat import Message
from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.exact import exact_messages, exact_prompt
from promptset.library import Library
from promptset.rng import stream
from promptset.sessions import simulated_sessions
from promptset.text import TokenText, word_bank
from promptset.tokenizer import LocalTokenizer, Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers

FEW = ("The quick brown fox jumps over the lazy dog.", "Pack my box with five dozen liquor jugs, please!") * 3
WORDS = resources.files("promptset").joinpath("words.txt").read_text(encoding="utf-8").split()
SPACE = "▁"


def words(known: list[str]) -> tokenizers.Tokenizer:
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *known])}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def test_special_tokens_are_no_words_of_a_vocabulary() -> None:
    made = words(["a", "b", "</s>"])
    made.add_special_tokens(["[UNK]", "</s>"])
    assert Library(made).vocabulary() == ["a", "b"]


def long_words_unknown() -> tokenizers.Tokenizer:
    content = json.loads(tiny_tokenizers.wordpiece().to_str())
    content["model"]["max_input_chars_per_word"] = 3
    return tokenizers.Tokenizer.from_str(json.dumps(content))


def letters_and_some_pairs() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(FEW, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    return made


def few_wordpieces() -> tokenizers.Tokenizer:
    made = tiny_tokenizers.wordpiece()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(FEW, trainers.WordPieceTrainer(vocab_size=80, special_tokens=special, show_progress=False))
    return made


def joins_with_the() -> tokenizers.Tokenizer:
    pieces = [*(f"{SPACE}{word}" for word in WORDS), *(f"{SPACE}the{SPACE}{word}" for word in WORDS)]
    made = tokenizers.Tokenizer(models.Unigram([("?", 0.0), *((piece, -5.0) for piece in pieces)], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    return made


def chinese() -> tokenizers.Tokenizer:
    pieces = [(chr(0x4E00 + number), -5.0) for number in range(200)]
    return tokenizers.Tokenizer(models.Unigram([("?", 0.0), *pieces], unk_id=0))


def splits_words_apart() -> tokenizers.Tokenizer:
    made = tiny_tokenizers.byte_level_bpe()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(".{1,3}"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return made


FEW_WORDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "60 words": lambda: words(WORDS[:60]),
    "11 words": lambda: words(WORDS[:11]),
    "long words unknown": long_words_unknown,
    "letters and some pairs": letters_and_some_pairs,
    "few wordpieces": few_wordpieces,
    "joins with the": joins_with_the,
    "chinese": chinese,
}
TOKENIZERS = {**FEW_WORDS, "splits words apart": splits_words_apart}
GLUED = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module", autouse=True)
def few_sentences() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "_LONG_EACH", 32)
        yield


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tokenizer]:
    @functools.cache
    def load(name: str) -> Tokenizer:
        return load_tokenizer(str(tiny_tokenizers.save(TOKENIZERS[name](), tmp_path_factory.mktemp("odd"))))

    return load


@pytest.mark.parametrize("name", TOKENIZERS)
def test_prompts_and_chats_are_exact(name: str, loaded: Callable[[str], Tokenizer]) -> None:
    tokenizer = loaded(name)
    for n in (40, 41, 300, 1500):
        assert tokenizer.count(exact_prompt(tokenizer, n, stream(1, n))) == n
        assert tokenizer.count_chat(exact_messages(tokenizer, n, stream(2, n))) == n


@pytest.mark.parametrize("name", FEW_WORDS)
def test_prompts_differ_in_their_first_tokens(name: str, loaded: Callable[[str], Tokenizer]) -> None:
    # All words that a tokenizer does not know are the same token.
    tokenizer = loaded(name)
    prompts = [exact_prompt(tokenizer, 30, stream(3, index), number=index) for index in range(40)]
    assert len({tuple(tokenizer.encode(prompt)[:16]) for prompt in prompts}) == 40


def test_a_bank_has_one_word_of_those_that_are_the_same_token(loaded: Callable[[str], Tokenizer]) -> None:
    bank = word_bank(loaded("60 words"))
    assert len(bank.words) == 61


@pytest.mark.parametrize("name", ["letters and some pairs", "long words unknown", "joins with the", "11 words"])
def test_sessions_are_exact(name: str, loaded: Callable[[str], Tokenizer]) -> None:
    assert_exact_sessions(loaded(name))


@pytest.mark.parametrize("n", [1, 30, 3000])
def test_texts_of_a_tokenizer_that_joins_some_letters_have_a_token_for_each_piece(
    n: int, loaded: Callable[[str], Tokenizer]
) -> None:
    tokenizer = loaded("letters and some pairs")
    pieces = TokenText(tokenizer).pieces(n, stream(1, n))
    assert tokenizer.count_plain(["".join(pieces)]) == [len(pieces)] == [n]


def test_words_of_which_hardly_any_add_up_are_refused(
    loaded: Callable[[str], Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "_joinable", lambda _, sentences: sentences[:1])
    with pytest.raises(SpecError, match="words of one token each do not add up in a text"):
        text._ring.__wrapped__(loaded("letters and some pairs"))


def test_a_turn_behind_an_answer_that_joins_the_message_before_it_is_exact(tmp_path: Path) -> None:
    assert_exact_sessions(of_template(tmp_path, GLUED), many=40)


def test_sessions_offer_their_tools_to_a_template_that_needs_some(tmp_path: Path) -> None:
    needs = "{% if not tools %}{{ raise_exception('no tools') }}{% endif %}" + tiny_tokenizers.TEMPLATE
    assert_exact_sessions(of_template(tmp_path, needs), [{"type": "function", "function": {"name": "add"}}])


def test_a_template_that_leaves_the_text_out_is_not_asked_with_longer_and_longer_texts(tmp_path: Path) -> None:
    class Counted(LocalTokenizer):
        counted = 0

        def count_chat(self, messages: object, tools: object = None) -> int:
            self.counted += 1
            return super().count_chat(messages, tools)  # type: ignore[arg-type]

    made = of_template(tmp_path, "hello")
    tokenizer = Counted(made.name, made._backend, fingerprint="0", config={}, chat_template="hello")
    with pytest.raises(SpecError, match="its chat template leaves out, cuts or changes the user's text"):
        exact_messages(tokenizer, 5000, stream(1))
    assert tokenizer.counted == 4


def of_template(folder: Path, template: str) -> LocalTokenizer:
    made = load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), folder, template=template)))
    assert isinstance(made, LocalTokenizer)
    return made


def assert_exact_sessions(tokenizer: Tokenizer, tools: list[dict[str, object]] | None = None, many: int = 3) -> None:
    """Each request has its stated tokens when counted as a whole."""
    made = simulated_sessions(
        tokenizer,
        turns=parse(4, "tokens"),
        input_tokens=parse("uniform:90..160", "tokens"),
        output_tokens=parse("uniform:1..40", "tokens"),
        think_time=parse("0s", "time"),
        seed=4,
        tools=tools,
    )
    for index in range(many):
        said: list[Message] = []
        for turn in made.session_at(index).turns:
            said.append({"role": "user", "content": turn.content})
            assert tokenizer.count_chat(said, tools) == turn.input_tokens
            said.append({"role": "assistant", "content": turn.answer})
