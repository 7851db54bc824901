"""A source whose items are changed by number: an item may get a model, or ids in place of its text."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from bench.sources.in_order import InOrder
from bench.workload import Encoded, draft_of
from promptset.samples import Sample
from promptset.sessions import Session
from promptset.sessions.packed import pack_session

if TYPE_CHECKING:
    from bench.sources.interface import Source
    from bench.traffic.shares import Shares
    from promptset.audio import AudioPlan
    from promptset.images import ImagePlan
    from promptset.sharing import SharingTally
    from promptset.tokens import Tokenizer
    from promptset.video import VideoPlan

Item = Sample | Session
T = TypeVar("T", bound=Sample | Session)
Change = Callable[[Item, int], Item]
"""Makes a changed item from one and its number."""


def to_models(mix: Shares, seed: int) -> Change:
    """Give a model to items that name none; all requests of a session use one model."""

    def change(item: Item, number: int) -> Item:
        return item if item.model is not None else replace(item, model=mix.of(seed, number))

    return change


def going(way: Sample) -> Change:
    """Send items to this sample's destination, unless they name their own."""
    return lambda item, number: sent_as(way, item)


def sent_as(way: Sample, item: T) -> T:
    """The item with the endpoint, model, headers and priority of this sample, except those that it sets itself."""
    names: set[str] = {name.lower() for name, _ in item.headers}
    return replace(
        item,
        endpoint=way.endpoint if item.endpoint is None else item.endpoint,
        model=way.model if item.model is None else item.model,
        headers=(*item.headers, *((name, value) for name, value in way.headers if name.lower() not in names)),
        priority=way.priority if item.priority is None else item.priority,
    )


def to_ids(tokenizer: Tokenizer) -> Change:
    """Replace a prompt by the ids that a server would make from its text, special tokens included. Its number of tokens
    is then exact, whatever the server's own tokenizer makes of texts."""

    def change(item: Item, number: int) -> Item:
        if not isinstance(item, Sample) or item.prompt is None:
            return item
        ids = tuple(tokenizer.encode(item.prompt, add_special_tokens=True))
        return replace(item, prompt_ids=ids, input_tokens=len(ids))

    return change


def with_session_header(name: str, salt: str | None, size: int | None) -> Change:
    """Name the session of an item in this header, so that a balancer can send a session to one replica: its id, the
    run's salt, and from the second pass over a data set of this size on, the number of the pass."""

    def change(item: Item, number: int) -> Item:
        session = item.id if isinstance(item, Session) else item.session
        if session is None:
            return item
        again = 0 if size is None else number // size
        parts = (quote(session), salt, str(again + 1) if again else None)
        value = ".".join(part for part in parts if part is not None)
        others = tuple(header for header in item.headers if header[0].lower() != name.lower())
        return replace(item, headers=(*others, (name.lower(), value)))

    return change


Part = dict[str, object]


def media_note(kinds: Sequence[str]) -> str:
    """The note in the report about chats with these kinds of parts."""
    *before, last = kinds
    parts = f"{', '.join(before)} and {last}" if before else last
    return f"requests have {parts}: their input tokens are what the server says, and are compared with nothing"


def image_parts(plan: ImagePlan, seed: int, salt: str | None) -> Callable[[int], list[Part]]:
    """The images of a request, by its number."""
    return lambda number: [{"type": "image_url", "image_url": {"url": url}} for url in plan.urls(seed, salt, number)]


def audio_parts(plan: AudioPlan, seed: int, salt: str | None) -> Callable[[int], list[Part]]:
    """The audio clip of a request, by its number."""

    def parts(number: int) -> list[Part]:
        clip, _ = plan.clip(seed, salt, number)
        return [{"type": "input_audio", "input_audio": {"data": base64.b64encode(clip).decode(), "format": "wav"}}]

    return parts


def video_parts(plan: VideoPlan, seed: int, salt: str | None) -> Callable[[int], list[Part]]:
    """The videos of a request, by its number."""
    return lambda number: [{"type": "video_url", "video_url": {"url": url}} for url in plan.urls(seed, salt, number)]


def with_media(makers: Sequence[Callable[[int], list[Part]]]) -> Change:
    """Turn a prompt into a message of its text and the parts that these make."""

    def change(item: Item, number: int) -> Item:
        if not isinstance(item, Sample) or item.body is not None:
            return item
        *before, last = [{"role": "user", "content": item.prompt}] if item.messages is None else item.messages
        parts = [part for make in makers for part in make(number)]
        content = [{"type": "text", "text": last["content"]}, *parts]
        return replace(item, prompt=None, messages=(*before, {**last, "content": content}))

    return change


class Changed(InOrder[Item]):
    """The items of a source, changed."""

    def __init__(
        self, source: Source[Item], changes: Sequence[Change], *, first: int, step: int, note: str | None = None
    ) -> None:
        """`note`: the report's note on the changes."""
        super().__init__(first, step)
        self._source = source
        self._note = note
        self._changes = changes

    def at(self, number: int) -> Item:
        item = self._source.at(number)
        for change in self._changes:
            item = change(item, number)
        return item

    def pack_next(self, encode: Callable[[Sample], Encoded]) -> bytes:
        item = next(self)
        return pack_session(item) if isinstance(item, Session) else draft_of(item, encode).pack()

    in_memory = False

    @property
    def notes(self) -> tuple[str, ...]:
        """The same as the source's, like the properties below."""
        return self._source.notes if self._note is None else (*self._source.notes, self._note)

    @property
    def size(self) -> int | None:
        return self._source.size

    @property
    def at_once(self) -> int:
        return self._source.at_once

    @property
    def own_body(self) -> Sample | None:
        return self._source.own_body

    @property
    def ways(self) -> tuple[Sample, ...]:
        return self._source.ways

    @property
    def names_models(self) -> bool:
        return self._source.names_models

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._source.tokenizer

    def planned_sharing(self, requests: int) -> SharingTally | None:
        return self._source.planned_sharing(requests)

    def untimed(self) -> str | None:
        return self._source.untimed()

    def times_s(self) -> Iterator[float]:
        return self._source.times_s()
