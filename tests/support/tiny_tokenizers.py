"""Three kinds of tokenizers, trained on demand, that have nothing in common with the embedded one."""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

BOS, EOS, UNKNOWN = "<s>", "</s>", "[UNK]"
TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]\n{{ m.content | trim }}\n{% endfor %}[assistant]\n"


@functools.cache
def _corpus() -> tuple[str, ...]:
    words = resources.files("promptset").joinpath("words.txt").read_text(encoding="utf-8").split()
    return tuple(f"the {word}. {word.capitalize()} the {word} {word.capitalize()}" for word in words)


def byte_level_bpe() -> Tokenizer:
    """Like GPT-2's, but with a BOS that the post-processor adds."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _corpus(), trainers.BpeTrainer(vocab_size=6000, special_tokens=[BOS, EOS], show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return tokenizer


def sentencepiece_bpe() -> Tokenizer:
    """Like Llama 2's: a space is a character of the vocabulary, one precedes the text, and there is a BOS."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = [UNKNOWN, BOS, EOS]
    tokenizer.train_from_iterator(
        _corpus(), trainers.BpeTrainer(vocab_size=6000, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return tokenizer


def wordpiece() -> Tokenizer:
    """Like BERT's: lower case, no spaces kept, a token before and one after the text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = [UNKNOWN, "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        _corpus(), trainers.WordPieceTrainer(vocab_size=6000, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def joins_two_words() -> Tokenizer:
    """Whole words, each with its space, but " time the" is one token: a tokenizer that joins across a space."""
    words = resources.files("promptset").joinpath("words.txt").read_text(encoding="utf-8").split()
    pieces = [" time the", *(f" {word}" for word in words), *words, "."]
    vocabulary = [(UNKNOWN, 0.0), *((piece, -float(len(piece) < 9)) for piece in dict.fromkeys(pieces))]
    return Tokenizer(models.Unigram(vocabulary, unk_id=0))


def letters() -> Tokenizer:
    """A tokenizer without words: every byte is a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([""], trainer)
    return tokenizer


def nothing() -> Tokenizer:
    """A tokenizer without a token for any text."""
    return Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))


KINDS = {
    "byte_level_bpe": byte_level_bpe,
    "sentencepiece_bpe": sentencepiece_bpe,
    "wordpiece": wordpiece,
}


def save(
    tokenizer: Tokenizer, folder: Path, *, template: str | list[dict[str, str]] | None = TEMPLATE, **config: object
) -> Path:
    """A model directory, with the template in tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    content = {"bos_token": BOS, "eos_token": EOS, "chat_template": template, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return folder
