"""Audio and video in conversations: what the mock refuses, and what they cost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mockserver.dialect.media import MediaCosts, check_media
from mockserver.dialect.refusals import Refusal
from promptset.media import without_media

WAV = {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZF", "format": "wav"}}
MP3 = {"type": "input_audio", "input_audio": {"data": "SUQzBAAAAAAAAA==", "format": "mp3"}}
VIDEO = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAAIGZ0eXA="}}
ADDRESS = {"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}
IMAGE = {"type": "image_url", "image_url": {"url": "anything"}}
TEXT = {"type": "text", "text": "a"}


def said(*parts: object) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "s"}, {"role": "user", "content": [*parts]}]


def test_each_kind_has_its_price_and_texts_have_none() -> None:
    costs = MediaCosts(image=1, audio=10, video=100)
    messages = said(TEXT, WAV, MP3, VIDEO, ADDRESS, IMAGE)
    check_media(messages)
    assert costs.of(messages) == 221
    assert costs.of(said(TEXT)) == 0
    assert without_media(messages) == said(TEXT)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "input_audio"}, "input_audio.format must be wav or mp3."),
        (
            {"type": "input_audio", "input_audio": {"format": "ogg", "data": "AAAA"}},
            "input_audio.format must be wav or mp3.",
        ),
        (
            {"type": "input_audio", "input_audio": {"format": "wav"}},
            "input_audio.data must be the Base64 of a wav file.",
        ),
        ({"type": "input_audio", "input_audio": {"format": "wav", "data": "%%%%"}}, "the Base64 of a wav file."),
        ({"type": "input_audio", "input_audio": {"format": "wav", "data": "SUQzBAAA"}}, "the Base64 of a wav file."),
        ({"type": "video_url"}, "video_url.url must be an address, or data: with the file in it."),
        ({"type": "video_url", "video_url": {"url": "a.mp4"}}, "video_url.url must be an address"),
        (
            {"type": "video_url", "video_url": {"url": "data:image/png;base64,AAAA"}},
            "the form data:video/...;base64,...",
        ),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,"}}, "the form data:video/...;base64,..."),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4,AAAA"}}, "the form data:video/...;base64,..."),
        (
            {"type": "audio_url", "audio_url": {"url": "data:video/mp4;base64,AAAA"}},
            "the form data:audio/...;base64,...",
        ),
    ],
)
def test_what_no_server_could_read_is_refused(part: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_media(said(TEXT, part))
    error = json.loads(caught.value.body)["error"]
    assert words in error["message"]
    assert (caught.value.status, error["param"]) == (400, "messages")
