"""SentencePiece's `.model`: a protocol buffer with the pieces, their scores and a few settings.

Read here by its wire format (https://protobuf.dev/programming-guides/encoding/), of which only numbers, floats and
nested messages occur; the numbers of the fields are those of sentencepiece_model.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, processors

from promptset.errors import SpecError
from promptset.tokenizer_files.backend import Backend

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # ModelProto
_TEXT, _SCORE, _TYPE = 1, 2, 3  # ModelProto.SentencePiece
_MODEL_TYPE, _SPACE_BEHIND, _BYTE_FALLBACK, _UNKNOWN_ID, _BOS_ID, _EOS_ID, _PAD_ID = (
    3,
    24,
    35,
    40,
    41,
    42,
    43,
)  # TrainerSpec
_NAMES = {
    "unk_token": (_UNKNOWN_ID, 0),
    "bos_token": (_BOS_ID, 1),
    "eos_token": (_EOS_ID, 2),
    "pad_token": (_PAD_ID, -1),
}
"""Special tokens by the names of chat templates: the field with the id, and its default."""
_CHARSMAP, _DUMMY_PREFIX, _REMOVE_SPACES = 2, 3, 4  # NormalizerSpec
_NORMAL, _UNKNOWN, _CONTROL, _USER = 1, 2, 3, 4  # SentencePiece.Type
_UNIGRAM, _BPE = 1, 2  # TrainerSpec.ModelType
_SPACE = "▁"


def recognizes(content: bytes) -> bool:
    """Whether it begins with a piece: field 1, bytes, in which field 1 is bytes too."""
    return content[:1] == b"\x0a" and content[2:3] == b"\x0a"


def convert(content: bytes, config: Mapping[str, Any], choice: str | None) -> Backend:
    """The tokenizer of the model. A BOS goes before a text where the model has one, unless the configuration's
    `add_bos_token` says otherwise; an EOS behind it only where `add_eos_token` says so. Raises SpecError."""
    del choice
    try:
        pieces, trainer, normalizer = _read(content)
    except (IndexError, struct.error, UnicodeDecodeError) as e:
        raise SpecError(f"the SentencePiece model is damaged: {e}") from e
    kind = trainer.get(_MODEL_TYPE, _UNIGRAM)
    unknown = trainer.get(_UNKNOWN_ID, 0)
    fallback = bool(trainer.get(_BYTE_FALLBACK, 0))
    if unknown >= len(pieces):
        raise SpecError("the SentencePiece model is damaged: its token for the unknown is none of its pieces")
    if trainer.get(_SPACE_BEHIND, 0):
        raise SpecError(
            "SentencePiece models that keep the space behind a word (treat_whitespace_as_suffix) are not supported: name a "
            "server that counts (--tokenizer http://host:port)"
        )
    if kind == _BPE:
        vocabulary = {text: number for number, (text, _, _) in enumerate(pieces)}
        merges = _merges(pieces)
        model: Any = models.BPE(vocabulary, merges, unk_token=pieces[unknown][0], fuse_unk=True, byte_fallback=fallback)
    elif kind == _UNIGRAM:
        model = models.Unigram([(text, score) for text, score, _ in pieces], unk_id=unknown, byte_fallback=fallback)
    else:
        raise SpecError("SentencePiece models of words or characters are not supported, BPE and Unigram are")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(_normalizers(normalizer))
    dummy = bool(normalizer.get(_DUMMY_PREFIX, 1))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if dummy else [])
    )
    own = [
        AddedToken(text, normalized=False, special=what != _USER)
        for text, _, what in pieces
        if what in (_UNKNOWN, _CONTROL, _USER)
    ]
    tokenizer.add_tokens(own)
    _add_ends(tokenizer, pieces, trainer, config)
    ids = {name: trainer.get(number, default) for name, (number, default) in _NAMES.items()}
    return Backend(tokenizer, {name: pieces[i][0] for name, i in ids.items() if 0 <= i < len(pieces)})


def _add_ends(
    tokenizer: tokenizers.Tokenizer,
    pieces: list[tuple[str, float, int]],
    trainer: Mapping[int, int],
    config: Mapping[str, Any],
) -> None:
    # -1, "there is none", is stored as a 64-bit number.
    bos, eos = trainer.get(_BOS_ID, 1), trainer.get(_EOS_ID, 2)
    ends = {pieces[number][0]: number for number in (bos, eos) if number < len(pieces)}
    before = pieces[bos][0] if bos < len(pieces) and config.get("add_bos_token", True) else None
    behind = pieces[eos][0] if eos < len(pieces) and config.get("add_eos_token", False) else None
    if before is not None or behind is not None:
        single = " ".join(part for part in (before, "$A", behind) if part is not None)
        tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=list(ends.items()))


def _normalizers(spec: Mapping[int, Any]) -> list[Any]:
    steps: list[Any] = []
    if charsmap := spec.get(_CHARSMAP):
        steps.append(normalizers.Precompiled(charsmap))
    if spec.get(_REMOVE_SPACES, 1):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    # Before each text, though it begins with a space already; not by Metaspace, which then leaves it out.
    if spec.get(_DUMMY_PREFIX, 1):
        steps.append(normalizers.Prepend(_SPACE))
    return [*steps, normalizers.Replace(" ", _SPACE)]


def _merges(pieces: list[tuple[str, float, int]]) -> list[tuple[str, str]]:
    """Every way to cut a piece in two pieces, those of the highest score first: SentencePiece merges in that order."""
    normal = {text: score for text, score, what in pieces if what in (_NORMAL, _USER)}
    ordered = sorted(normal, key=normal.__getitem__, reverse=True)
    return [
        (text[:cut], text[cut:])
        for text in ordered
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]


def _read(content: bytes) -> tuple[list[tuple[str, float, int]], dict[int, Any], dict[int, Any]]:
    """The pieces (text, score, type), and the settings of trainer and normalizer by the numbers of their fields."""
    pieces = []
    settings: dict[int, dict[int, Any]] = {_TRAINER: {}, _NORMALIZER: {}}
    for field, value in _fields(content):
        if field == _PIECES:
            piece = dict(_fields(value))
            score = struct.unpack("<f", piece[_SCORE])[0] if _SCORE in piece else 0.0
            pieces.append((piece.get(_TEXT, b"").decode("utf-8"), score, piece.get(_TYPE, _NORMAL)))
        elif field in settings:
            settings[field] = dict(_fields(value))
    return pieces, settings[_TRAINER], settings[_NORMALIZER]


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: numbers as int, all others as bytes."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        value: Any
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
            case 1:
                value, at = message[at : at + 8], at + 8
            case 2:
                size, at = _varint(message, at)
                value, at = message[at : at + size], at + size
            case 5:
                value, at = message[at : at + 4], at + 4
            case other:
                raise IndexError(f"field of unknown kind {other}")
        if at > end:
            raise IndexError("it ends in mid-field")
        yield tag >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
