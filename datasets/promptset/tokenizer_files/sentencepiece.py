"""SentencePiece's `.model`: a protocol buffer with the pieces, their scores and a few settings.

Read here by its wire format (https://protobuf.dev/programming-guides/encoding/), of which only numbers, floats and
nested messages occur; the numbers of the fields are those of sentencepiece_model.proto.
"""

from __future__ import annotations

import math
import re
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
_CHARSMAP, _DUMMY_PREFIX, _REMOVE_SPACES, _ESCAPE_SPACES = 2, 3, 4, 5  # NormalizerSpec
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED = 1, 2, 3, 4, 5  # SentencePiece.Type
_UNIGRAM, _BPE = 1, 2  # TrainerSpec.ModelType
_SPACE = "▁"
_TIE = 1e-6
"""Scores this close, relative to the larger, are equal: a float of 32 bits, SentencePiece's, holds 24 bits."""
_CUT_UP_TO = 64
"""Characters of the longest piece in which a tie is looked for. Trainers allow 16 by default."""
_TAG = re.compile(r"<[^<>\s▁]+>|\[[^\[\]\s▁]+\]")
"""A piece that marks something (`<table>`, `[IMG]`), and is no part of ordinary text."""
_Piece = tuple[str, float, int]
"""Text, score and type."""
_OTHERWISE = "name a server that counts (--tokenizer http://host:port)"


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
    _refuse_unlike(pieces, trainer, normalizer)
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


def _refuse_unlike(pieces: list[_Piece], trainer: Mapping[int, Any], normalizer: Mapping[int, Any]) -> None:
    """Raises SpecError if the model has what SentencePiece treats otherwise than the library that counts here."""
    if trainer.get(_SPACE_BEHIND, 0):
        raise SpecError(
            "SentencePiece models that keep the space behind a word (treat_whitespace_as_suffix) are not supported: "
            + _OTHERWISE
        )
    if not normalizer.get(_ESCAPE_SPACES, 1):
        raise SpecError(
            f"SentencePiece models that leave spaces as they are (escape_whitespaces: false) are not supported: {_OTHERWISE}"
        )
    # Each part between such pieces is normalized alone here: it gets a space before it, and loses those at its ends.
    parted = bool(normalizer.get(_DUMMY_PREFIX, 1) or normalizer.get(_REMOVE_SPACES, 1))
    for text, _, what in pieces:
        if what == _USER and not _TAG.fullmatch(text) and (parted or _SPACE in text or " " in text):
            raise SpecError(
                f"SentencePiece models whose user-defined pieces are ordinary text ({text!r}) are not supported, counts "
                f"would be wrong: {_OTHERWISE}"
            )
        if what == _UNUSED and not _TAG.fullmatch(text):
            raise SpecError(
                f"SentencePiece models with pieces that are not used ({text!r}) are not supported, counts would be wrong: "
                + _OTHERWISE
            )
    if trainer.get(_MODEL_TYPE, _UNIGRAM) == _UNIGRAM and (tied := _tied_piece(pieces)) is not None:
        raise SpecError(
            f"SentencePiece models in which a piece ({tied!r}) is exactly as likely as its parts are not supported: rounding "
            f"decides between them, and counts would be wrong; {_OTHERWISE}"
        )


def _tied_piece(pieces: list[_Piece]) -> str | None:
    """A piece whose score equals that of the best way to cut it into other pieces; None if there is none."""
    scores = {text: score for text, score, what in pieces if what == _NORMAL}

    def parts(text: str, least: float) -> float:
        """The score of the best way to cut `text` in two or more. Scores are logarithms of probabilities, at most 0, so a
        way that has fallen below `least` already is not followed."""
        best = -math.inf
        for cut in range(1, len(text)):
            first = scores.get(text[:cut])
            if first is not None and first >= least:
                rest = text[cut:]
                best = max(best, first + max(scores.get(rest, -math.inf), parts(rest, least - first)))
        return best

    # The short ones first: a tie within a long piece has been seen before the long one is cut.
    for text, score in sorted(scores.items(), key=lambda piece: len(piece[0])):
        if len(text) <= _CUT_UP_TO and math.isclose(score, parts(text, score + _TIE * score), rel_tol=_TIE):
            return text
    return None


def _add_ends(
    tokenizer: tokenizers.Tokenizer,
    pieces: list[_Piece],
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
        # Only spaces: a line break that the charsmap left is a character like any other.
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    # Before each text, though it begins with a space already; not by Metaspace, which then leaves it out.
    if spec.get(_DUMMY_PREFIX, 1):
        steps.append(normalizers.Prepend(_SPACE))
    return [*steps, normalizers.Replace(" ", _SPACE)]


def _merges(pieces: list[_Piece]) -> list[tuple[str, str]]:
    """Every way to cut a piece in two pieces, those of the highest score first: SentencePiece merges in that order."""
    normal = {text: score for text, score, what in pieces if what in (_NORMAL, _USER)}
    ordered = sorted(normal, key=normal.__getitem__, reverse=True)
    return [
        (text[:cut], text[cut:])
        for text in ordered
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]


def _read(content: bytes) -> tuple[list[_Piece], dict[int, Any], dict[int, Any]]:
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
