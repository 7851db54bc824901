"""Shared beginnings: prompts share the requested part, and the cacheable part is counted."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from promptset import outline
from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.rng import text_stream
from promptset.samples import Sample
from promptset.sharing import SCHEMES, Path, Room, SharingTally, parse_prefix
from promptset.sharing.hit_rate import HitRate
from promptset.sharing.scheme import Key
from promptset.sharing.tree import Tree
from promptset.simulated import SimulatedPrompts, simulated_prompts
from promptset.tokenizer import Tokenizer
from tests.support.sample_parts import messages_of, prompt_of, tokens_of

SPECS = [
    "tokens=40,groups=3",
    "tree:depth=3,fanout=2,tokens=20",
    "hit_rate=0.5,groups=2",
    "hit_rate=1",
    "system=30",
    "tokens=20,system=9",
]


def made(
    tokenizer: Tokenizer, prefix: str, count: int, *, chat: bool = False, spec: str = "uniform:90..150", seed: int = 3
) -> tuple[SimulatedPrompts, list[Sample]]:
    samples = simulated_prompts(
        tokenizer,
        input_tokens=parse(spec, "tokens"),
        output_tokens=parse("5", "tokens"),
        chat=chat,
        seed=seed,
        prefix=parse_prefix(prefix),
    )
    return samples, list(itertools.islice(samples, count))


def ids_of(tokenizer: Tokenizer, sample: Sample) -> list[int]:
    if sample.messages is None:
        return tokenizer.encode(prompt_of(sample), add_special_tokens=True)
    return tokenizer.encode(tokenizer.render_chat(sample.messages))


def common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def served_by_a_cache(prompts: Iterable[Sequence[int]]) -> int:
    """The tokens that a cache of whole blocks serves, found by hash chains over real token ids, as in a server."""
    cached, served = set(), 0
    for ids in prompts:
        chains = [tuple(ids[:end]) for end in range(16, len(ids) + 1, 16)]
        hits = next((i for i, chain in enumerate(chains) if chain not in cached), len(chains))
        served += min(hits, (len(ids) - 1) // 16) * 16
        cached.update(chains)
    return served


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("spec", SPECS)
def test_shared_prompts_are_exact_and_the_tally_is_what_a_cache_serves_of_their_tokens(
    tokenizer: Tokenizer, spec: str, chat: bool
) -> None:
    samples, prompts = made(tokenizer, spec, 24, chat=chat)
    tally = SharingTally(samples.maker.head)
    for sample in prompts:
        tally.add(tokens_of(sample), sample.path)
    ids = [ids_of(tokenizer, sample) for sample in prompts]
    assert [len(each) for each in ids] == [sample.input_tokens for sample in prompts]
    served = served_by_a_cache(ids)
    # Unplanned texts may share a first word by chance, which gives a block more now and then.
    assert tally.cached <= served <= tally.cached + 16 * 12
    assert (tally.prompts, tally.tokens) == (24, sum(tokens_of(sample) for sample in prompts))


def test_a_tree_shares_as_many_levels_as_the_ways_have_in_common(default_tokenizer: Tokenizer) -> None:
    _, prompts = made(default_tokenizer, "tree:depth=3,fanout=2,tokens=20", 8)
    ids = [ids_of(default_tokenizer, sample) for sample in prompts]
    # Leaves 0 to 3 in turn: 0 and 1 share two levels, 0 and 2 the first, 0 and 4 all of them.
    for other, levels in ((1, 2), (2, 1), (3, 1), (4, 3)):
        assert levels * 20 <= common(ids[0], ids[other]) < levels * 20 + 5


@pytest.mark.parametrize(("rate", "chat"), [(0.0, False), (0.3, True), (0.6, False), (0.9, False), (0.9, True)])
def test_a_hit_rate_is_met_once_the_cache_is_warm(default_tokenizer: Tokenizer, rate: float, chat: bool) -> None:
    samples, _ = made(default_tokenizer, f"hit_rate={rate},groups=4", 0, chat=chat, spec="uniform:200..900")
    tally = SharingTally(samples.maker.head)
    before = None
    for index in range(4400):
        outline = samples.outline_at(index)
        tally.add(outline.input_tokens, samples.maker.path(outline.path))
        if index == 399:
            before = (tally.cached, tally.tokens)
    assert before is not None
    warm = (tally.cached - before[0]) / (tally.tokens - before[1])
    # Rounding 4,000 prompts of about 550 tokens to blocks has a standard error below 0.0003.
    assert warm == pytest.approx(rate, abs=0.0015)


def test_a_system_prompt_is_a_message_of_its_own_in_a_chat(default_tokenizer: Tokenizer) -> None:
    _, prompts = made(default_tokenizer, "system=30", 5, chat=True)
    assert [[m["role"] for m in messages_of(sample)] for sample in prompts] == [["system", "user"]] * 5
    assert len({messages_of(sample)[0]["content"] for sample in prompts}) == 1
    assert default_tokenizer.count_plain([messages_of(prompts[0])[0]["content"]]) == [30]
    assert len({messages_of(sample)[1]["content"] for sample in prompts}) == 5


def test_no_prompt_counts_as_served_by_itself() -> None:
    tally = SharingTally(head=0)
    assert tally.share is None
    tally.add(64, (("a", 64),))
    assert tally.cached == 0
    tally.add(64, (("a", 64),))
    assert tally.cached == 48  # The last token is always computed, and only whole blocks are cached.
    tally.add(64, (("a", 20),))
    assert tally.cached == 48 + 16
    tally.add(100, (("a", 64), ("b", 30)))
    # After a shorter beginning the text is at another position, so nothing more is shared.
    tally.add(100, (("a", 60), ("b", 30)))
    assert tally.cached == 48 + 16 + 64 + 48
    assert tally.share == tally.cached / (3 * 64 + 200)


@pytest.mark.parametrize("text", [*SPECS, "tokens=512,groups=1,system=4"])
def test_sharing_is_parsed_and_written_back(text: str) -> None:
    assert parse_prefix(str(parse_prefix(text))) == parse_prefix(text)
    assert str(parse_prefix("tokens=512")) == "tokens=512,groups=1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("token=512,groups=0", ["did you mean 'tokens'?", "groups=0: write a whole number", "tokens= is missing"]),
        ("tokens=x", ["tokens=x: write a whole number"]),
        ("512", ["'512' is not key=value"]),
        ("tokens=1,tokens=2", ["tokens is given twice"]),
        ("", ["tokens= is missing"]),
        ("tre:depth=2", ["no scheme is called 'tre': write one of tree"]),
        ("tree:depth=2,fanout=x", ["fanout=x: write a whole number from 1 to 1e+06", "tokens= is missing"]),
        ("tree:depth=40,fanout=9,tokens=1", ["over 1e+09 leaves"]),
        ("hit_rate=1.5", ["hit_rate=1.5: write a number from 0 to 1"]),
        ("hit_rate=0.5,tokens=3", ["a prefix has no 'tokens'"]),
        ("system=0", ["system=0: write a whole number above 0"]),
    ],
)
def test_a_wrong_prefix_is_refused_all_at_once(text: str, said: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_prefix(text)
    for words in said:
        assert words in str(caught.value)


def test_the_leaves_of_a_tree_come_in_turn_each_below_its_own_nodes() -> None:
    tree = Tree(depth=3, fanout=2, tokens=10)
    room = Room(tokens=100, head=0, most=99)
    ways = [[name for name, _ in tree.path(index, 0, room)] for index in range(5)]
    nodes = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 1, 3], [0, 0, 0]]
    assert ways == [[f"level {level}, node {node}" for level, node in enumerate(way)] for way in nodes]
    assert (tree.least, {tokens for _, tokens in tree.path(0, 0, room)}) == (30, {10})


def test_a_tally_counts_whole_blocks_that_an_earlier_prompt_began_with() -> None:
    tally, cached = SharingTally(head=3), []
    assert tally.share is None
    prompts: list[tuple[int, Path]] = [
        (100, (("a", 32),)),
        (100, (("a", 48),)),  # 3 and 32 tokens: two blocks.
        (100, (("a", 48), ("b", 16))),  # 3 and 48: three blocks, and nothing after them.
        (100, (("a", 48), ("b", 16))),  # 3, 48 and 16: four.
        (100, (("a", 32), ("b", 16))),  # After a shorter segment it is another text: two.
        (33, (("a", 48),)),  # The last token is always computed: two.
        (100, ()),  # 3 tokens fill no block.
    ]
    for tokens, path in prompts:
        before = tally.cached
        tally.add(tokens, path)
        cached.append(tally.cached - before)
    assert cached == [0, 32, 48, 64, 32, 32, 0]
    assert (tally.prompts, tally.tokens, tally.share) == (7, 633, 208 / 633)


@pytest.mark.parametrize(
    ("room", "index", "path"),
    [
        (Room(tokens=320, head=4, most=300), 3, ((1, 156),)),  # Ten blocks with the head.
        (Room(tokens=320, head=4, most=130), 2, ((0, 124),)),  # Eight blocks fit.
        (Room(tokens=320, head=16, most=300), 2, ((0, 144),)),
        (Room(tokens=320, head=12, most=3), 0, ()),
        (Room(tokens=320, head=16, most=0), 0, ()),  # The head fills the block.
    ],
)
def test_a_hit_rate_is_whole_blocks_of_the_prompt(room: Room, index: int, path: object) -> None:
    assert HitRate(hit_rate=0.5, groups=2).path(index, 0, room) == path


def test_a_part_of_a_block_is_shared_by_as_many_prompts_as_it_is_of_a_block() -> None:
    room = Room(tokens=328, head=0, most=300)
    blocks = [HitRate(0.5, 1).path(index, 7, room)[0][1] / 16 for index in range(800)]
    assert set(blocks) == {10, 11}
    assert sum(blocks) / 800 == pytest.approx(10.25, abs=0.05)


@pytest.mark.parametrize(
    ("key", "text", "read"),
    [
        (Key(1, 64), "64", (64, None)),
        (Key(1, 64), "1", (1, None)),
        (Key(1, 64), "0", (None, "n=0: write a whole number from 1 to 64")),
        (Key(1, 64), "2.5", (None, "n=2.5: write a whole number from 1 to 64")),
        (Key(1, 64), "\u0663", (None, "n=\u0663: write a whole number from 1 to 64")),
        (Key(1, 1e9), "0", (None, "n=0: write a whole number above 0")),
        (Key(0, 1, whole=False), "0.6", (0.6, None)),
        (Key(0, 1, whole=False), "1.5", (None, "n=1.5: write a number from 0 to 1")),
    ],
)
def test_the_value_of_a_key_is_within_its_limits(key: Key, text: str, read: object) -> None:
    assert key.read("n", text) == read


def test_the_segments_used_last_are_kept_and_others_are_made_again_alike(
    default_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_anew: list[object] = []

    def recorded(seed: int, salt: str | None, *purpose: Any) -> Any:
        if purpose[0] == "prefix":
            made_anew.append(purpose[1])
        return text_stream(seed, salt, *purpose)

    monkeypatch.setattr(outline, "text_stream", recorded)
    monkeypatch.setattr(outline, "_KEPT_SEGMENTS", 2)
    maker = outline.PromptMaker(default_tokenizer, chat=False, seed=0)
    prompts = [maker.make(60, ((name, 30),), 0) for name in ("a", "b", "a", "c", "a", "b")]
    # c took the place of b, which was used before a.
    assert made_anew == ["a", "b", "c", "b"]
    assert prompts[0] == prompts[2] == prompts[4]
    assert prompts[1] == prompts[5]
    # A longer beginning of a segment is made anew, a shorter one is not.
    maker.make(60, (("b", 20),), 0)
    assert made_anew == ["a", "b", "c", "b"]
    maker.make(60, (("b", 31),), 0)
    assert made_anew == ["a", "b", "c", "b", "b"]


@pytest.mark.parametrize(
    ("scheme", "keys"),
    [
        ("groups", {"tokens": (1, 1e9, None), "groups": (1, 1e9, 1)}),
        ("tree", {"depth": (1, 64, None), "fanout": (1, 1e6, None), "tokens": (1, 1e9, None)}),
        ("hit_rate", {"hit_rate": (0, 1, None), "groups": (1, 1e9, 1)}),
    ],
)
def test_the_keys_of_a_scheme_have_limits_and_defaults(
    scheme: str, keys: dict[str, tuple[float, float, float | None]]
) -> None:
    known = {key: (says.low, says.high, says.default) for key, says in SCHEMES[scheme].keys.items()}
    assert known == keys
    name = "tree:" if scheme == "tree" else ""
    lows = {key: low for key, (low, _, _) in keys.items()}

    def parsed(**values: float) -> Any:
        return parse_prefix(name + ",".join(f"{key}={value:.0f}" for key, value in values.items())).scheme

    for key, (low, high, default) in keys.items():
        for value in (low, high):
            made = parsed(**{**lows, key: value})
            assert getattr(made, key) == value
            assert made.path(0, 0, Room(tokens=100, head=0, most=99)) is not None
        for value in (low - 1, high + 1):
            with pytest.raises(SpecError, match=f"{key}={value:.0f}: write"):
                parsed(**{**lows, key: value})
        if default is not None:
            assert getattr(parsed(**{other: low for other, low in lows.items() if other != key}), key) == default


def test_a_tree_has_at_most_a_billion_leaves() -> None:
    assert parse_prefix("tree:depth=10,fanout=10,tokens=1").scheme == Tree(10, 10, 1)
    with pytest.raises(SpecError, match=r"depth=11 and fanout=10 make over 1e\+09 leaves: use less of one of them"):
        parse_prefix("tree:depth=11,fanout=10,tokens=1")
