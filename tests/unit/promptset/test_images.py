"""Images for chats: the requested sizes and number, all different, the same for a seed; and the resulting chat."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.config import resolve
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.errors import UsageError
from bench.load.components import source_of
from bench.workload import RequestDraft, SentMedia, draft_of
from promptset import images, video
from promptset.errors import SpecError
from promptset.images import parse, soft_image
from promptset.loaders import load
from promptset.tokens import load_tokenizer


def opened(url: str) -> Any:
    head, _, data = url.partition(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{str(image.format).lower()}"
    return image


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_images_have_the_size_and_the_format_that_were_asked_for(kind: str) -> None:
    (url,) = parse(f"size=96x40,format={kind}").urls(1, None, 0)
    assert opened(url).size == (96, 40)


def test_number_and_size_are_drawn_within_their_distributions() -> None:
    plan = parse("n=uniform:1..3,size=uniform:32..64")
    drawn = [[opened(url).size for url in plan.urls(1, None, number)] for number in range(30)]
    assert {len(images) for images in drawn} == {1, 2, 3}
    assert all(width == height and 32 <= width <= 64 for images in drawn for width, height in images)
    wide = parse("width=normal:mean=64,std=4,min=50,max=80,height=32")
    assert all(opened(url).size[1] == 32 for number in range(5) for url in wide.urls(1, None, number))


def test_no_two_are_alike_and_a_seed_makes_the_same_again() -> None:
    plan = parse("n=2,size=48x48,format=png")
    made = [url for number in range(20) for url in plan.urls(7, "salt", number)]
    assert len(set(made)) == 40
    assert made[:2] == plan.urls(7, "salt", 0)
    assert not set(plan.urls(7, "other", 0)) & set(made)


def test_an_image_as_small_as_its_grid_has_the_colours_of_its_key() -> None:
    image = Image.open(io.BytesIO(soft_image("key", 2, 2, "png")))
    assert image.tobytes() == hashlib.shake_256(b"key").digest(2 * 2 * 3)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("1024x768", "write some of n, size"),
        (" ", "write some of n, size"),
        ("n=1,n=2", "once each"),
        ("format=gif", "the format 'gif' is not one of jpeg, png, webp"),
        ("size=64x64,width=3", "size sets width and height"),
        ("n=0", "n"),
        ("n=x,width=y", "images, n: "),
        ("n=x,width=y", "images, width: "),
        ("size=90000x10", "outside 1 to 8192"),
        ("size=exp:mean=5000", "limit it with min and max"),
    ],
)
def test_what_is_wrong_with_images_is_said(given: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(given)
    assert problem in str(caught.value)


def test_a_simulated_chat_has_its_text_and_the_images_and_unknown_input_tokens() -> None:
    config = resolve({"url": "http://h", "images": "n=2,size=32x32", "input_tokens": 30})
    source = source_of(config, load_tokenizer())
    sample = next(source)
    draft = draft_of(sample, partial(encode, options=BodyOptions(endpoint="chat", model="m")))
    sizes = [
        len(base64.b64decode(part["image_url"]["url"].partition(",")[2])) for part in sample.messages[0]["content"][1:]
    ]
    assert (draft.input_tokens_asked, draft.media) == (None, SentMedia(sum(sizes), 30))
    assert RequestDraft.unpack(draft.pack()) == draft
    assert any("input tokens are what the server says" in note for note in source.notes)
    shapes = {
        "chat": ("messages", "image_url"),
        "messages": ("messages", "image"),
        "responses": ("input", "input_image"),
    }
    for endpoint, (field, kind) in shapes.items():
        body = json.loads(encode(sample, BodyOptions(endpoint=endpoint, model="m")).body)
        assert [part["type"] for part in body[field][0]["content"]][1:] == [kind, kind]


def test_images_do_not_go_with_what_has_none() -> None:
    with pytest.raises(UsageError, match="--images need a chat, but the endpoint is completions"):
        resolve({"url": "http://h", "endpoint": "completions", "images": "n=1"})


def test_the_tokens_of_a_row_with_an_image_are_those_of_its_text(tmp_path: Path) -> None:
    part = {"type": "image_url", "image_url": {"url": "http://h/a.png"}}
    row = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    tokenizer = load_tokenizer()
    (sample,) = load(tmp_path / "rows.jsonl", tokenizer=tokenizer, chat=True)
    assert sample.input_tokens == tokenizer.count_chat([{"role": "user", "content": "what?"}])
    draft = draft_of(sample, partial(encode, options=BodyOptions(endpoint="chat", model="m")))
    assert (draft.input_tokens_asked, draft.media) == (None, SentMedia(0, sample.input_tokens))


def test_a_width_alone_makes_squares_and_a_height_alone_has_the_usual_width() -> None:
    def size(text: str) -> tuple[int, int]:
        (url,) = parse(text).urls(1, None, 0)
        width, height = opened(url).size
        return width, height

    assert size("width=64") == (64, 64)
    assert size("height=64") == (1024, 64)
    assert size("size=64") == (64, 64)
    assert size("n=1") == (1024, 768)
    assert parse("n=1").format == "jpeg"
    assert parse("format=jpg").format == "jpeg"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("size=5,height=5", "size sets width and height: leave them out"),
        ("size=5x5,width=5", "size sets width and height: leave them out"),
        ("5,n=1", "write some of n, size, width, height, format once each"),
        ("n=1,n=2", "write some of n, size, width, height, format once each"),
        ("", "write some of n, size, width, height, format once each"),
        ("n=65", "images, n: '65' draws numbers outside 1 to 64: limit it with min and max"),
        ("n=0", "images, n: '0' draws numbers outside 1 to 64"),
        ("size=8193", "images, width: '8193' draws numbers outside 1 to 8192"),
        ("size=5x8193", "images, height: '8193' draws numbers outside 1 to 8192"),
        ("format=gif", "the format 'gif' is not one of jpeg, png, webp"),
    ],
)
def test_images_that_contradict_themselves_or_are_too_many_are_refused(given: str, problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(given)
    assert len(refused.value.problems) == 1
    assert problem in refused.value.problems[0]


def test_the_limits_of_images_are_taken_themselves() -> None:
    for given in ("n=64,size=1x8192", "n=1,size=8192x1", "width=8192", "n=uniform:1..64", "format=webp", "format=png"):
        parse(given)


@pytest.mark.parametrize(("module", "what"), [(images, "images"), (video, "videos")])
def test_pictures_need_a_package(module: Any, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=f"^{what} need the package Pillow: pip install pillow$"):
        module.parse("n=1")
