"""Videos for chats: `n=1,length=2s,fps=4,size=320x240`. Each is Motion JPEG in an AVI file, which players and servers
can read.

`n` and `length` are numbers or distributions. A frame is a field of soft random colours, like an image; no two videos
are alike.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from importlib.util import find_spec

from promptset.clock import NS_PER_S
from promptset.distributions import Distribution
from promptset.distributions import parse as parse_distribution
from promptset.errors import SpecError
from promptset.images import MOST_EDGE, data_url, soft_image
from promptset.rng import stream

MOST_VIDEOS, MOST_S, MOST_FPS = 16, 600, 60
EXAMPLE = "n=1,length=2s,fps=4,size=320x240"
_USUAL = dict(re.findall(r"(\w+)=(\w+)", EXAMPLE))
_HAS_INDEX = 0x10
_KEY_FRAME = 0x10


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """The number of videos per request, their length, their frame rate, and their size in pixels."""

    n: Distribution
    length: Distribution
    fps: int
    width: int
    height: int

    def urls(self, seed: int, salt: str | None, number: int) -> list[str]:
        """The videos of the request with this number, as data URLs."""
        chance = stream(seed, "video", number)
        videos = []
        for place in range(int(self.n.sample(chance))):
            frames = max(1, round(self.length.sample(chance) * self.fps / NS_PER_S))
            pictures = [
                soft_image(repr((seed, salt, "video", number, place, frame)), self.width, self.height, "jpeg")
                for frame in range(frames)
            ]
            videos.append(data_url(avi_file(pictures, self.fps, self.width, self.height), "video/x-msvideo"))
        return videos


def avi_file(frames: list[bytes], fps: int, width: int, height: int) -> bytes:
    """An AVI file of these JPEG frames."""
    largest = max(map(len, frames))
    main = struct.pack(
        "<14I", 1_000_000 // fps, largest * fps, 0, _HAS_INDEX, len(frames), 0, 1, largest, width, height, 0, 0, 0, 0
    )
    head = struct.pack(
        "<4s4s10I4H", b"vids", b"MJPG", 0, 0, 0, 1, fps, 0, len(frames), largest, 0xFFFFFFFF, 0, 0, 0, width, height
    )
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", 3 * width * height, 0, 0, 0, 0)
    tracks = _list(b"strl", _chunk(b"strh", head) + _chunk(b"strf", form))
    pieces = [_chunk(b"00dc", frame) for frame in frames]
    index, at = b"", 4
    for frame, piece in zip(frames, pieces, strict=True):
        index += struct.pack("<4sIII", b"00dc", _KEY_FRAME, at, len(frame))
        at += len(piece)
    parts = (_list(b"hdrl", _chunk(b"avih", main) + tracks), _list(b"movi", b"".join(pieces)), _chunk(b"idx1", index))
    return _list(b"AVI ", b"".join(parts), b"RIFF")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<4sI", name, len(data)) + data + b"\0" * (len(data) % 2)


def _list(kind: bytes, data: bytes, name: bytes = b"LIST") -> bytes:
    return _chunk(name, kind + data)


def parse(text: str) -> VideoPlan:
    """Parse a video spec. Raises SpecError with a sentence for each problem."""
    pieces = re.split(rf"(?:^|,)\s*({'|'.join(_USUAL)})\s*=", text.strip())
    parts = {key: value.strip() for key, value in zip(pieces[1::2], pieces[2::2], strict=True)}
    if pieces[0].strip() or len(pieces) != 2 * len(parts) + 1 or not parts:
        raise SpecError(f"video {text!r}: write some of {', '.join(_USUAL)} once each, for example {EXAMPLE}")
    settings, problems = {**_USUAL, **parts}, []
    size = re.fullmatch(r"([0-9]+)x([0-9]+)", settings["size"])
    edges = (0, 0) if size is None else (int(size[1]), int(size[2]))
    if not all(1 <= edge <= MOST_EDGE for edge in edges):
        problems.append(f"video, size: {settings['size']!r} is not WIDTHxHEIGHT, each from 1 to {MOST_EDGE}")
    if not settings["fps"].isdecimal() or not 1 <= int(settings["fps"]) <= MOST_FPS:
        problems.append(f"video, fps: {settings['fps']!r} is not a whole number from 1 to {MOST_FPS}")
    n = _drawn(settings["n"], "n", 1, MOST_VIDEOS, problems)
    length = _drawn(settings["length"], "length", NS_PER_S // 100, MOST_S * NS_PER_S, problems)
    if problems or n is None or length is None:
        raise SpecError(problems)
    if find_spec("PIL") is None:
        raise SpecError("videos need the package Pillow: pip install pillow")
    return VideoPlan(n, length, int(settings["fps"]), *edges)


def _drawn(text: str, key: str, least: int, most: int, problems: list[str]) -> Distribution | None:
    """The distribution of a key. Adds a sentence to `problems` if it is invalid, or draws values outside the limits."""
    try:
        drawn = parse_distribution(text, "time" if key == "length" else "tokens")
    except SpecError as e:
        problems += [f"video, {key}: {problem}" for problem in e.problems]
        return None
    if drawn.share_below(most + 1) < 1 - 1e-6 or drawn.share_below(least) > 1e-6:
        limits = f"10ms to {MOST_S}s" if key == "length" else f"{least} to {most}"
        problems.append(f"video, {key}: {text!r} draws values outside {limits}: limit it with min and max")
    return drawn
