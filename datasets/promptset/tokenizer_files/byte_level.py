"""BPE over bytes, as tiktoken and tekken store it: a rank for every token, and the pattern that splits text first."""

from __future__ import annotations

from collections.abc import Mapping

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers


def _letters() -> dict[int, str]:
    """The letter that stands for each byte in a byte-level vocabulary (GPT-2's table): printable ones for themselves."""
    own = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = (byte for byte in range(256) if byte not in own)
    return {**{byte: chr(byte) for byte in own}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


def build(
    ranks: Mapping[bytes, int], pattern: str, special: Mapping[str, int], *, offset: int = 0, nfc: bool = False
) -> Tokenizer:
    """The tokenizer whose token of rank r has the id `offset` + r, with these special tokens and their ids.

    `nfc`: text is brought to Unicode's composed form first.

    Two neighbours are merged where what they make is a token, the one of the lowest rank first. In the lists of
    `tokenizers` that is: every way to cut every token in two tokens, in the order of ranks. A piece that is a token as a
    whole is never cut (`ignore_merges`).
    """
    letters = _letters()
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [
        (spelled[token[:cut]], spelled[token[cut:]])
        for token in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    vocabulary = {**{spelled[token]: rank + offset for token, rank in ranks.items()}, **special}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    return tokenizer
