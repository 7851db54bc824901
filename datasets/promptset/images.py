"""Images for chats: `n=1,size=1024x768,format=jpeg`. No two are alike; each depends only on the seed, the salt and its
number.

`n` is a number or a distribution; `size` is WIDTHxHEIGHT, or a distribution of the edge of squares; `width` and
`height`, each a distribution, give other shapes. An image is a field of soft random colours: about as large as a JPEG
photo of its size, and unique, so a server's cache cannot hit.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from hashlib import shake_256
from importlib.util import find_spec

from promptset.distributions import Distribution
from promptset.distributions import parse as parse_distribution
from promptset.errors import SpecError
from promptset.rng import stream

FORMATS = ("jpeg", "png", "webp")
MOST_IMAGES, MOST_EDGE = 64, 8192
_KEYS = ("n", "size", "width", "height", "format")
_EXAMPLE = "n=1,size=1024x768,format=jpeg"
_GRAIN = 16
"""Pixels between two random colours."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """The number of images per request, their size in pixels (`height` None: same as the width), and their format."""

    n: Distribution
    width: Distribution
    height: Distribution | None
    format: str

    def urls(self, seed: int, salt: str | None, number: int) -> list[str]:
        """The images of the request with this number, as data URLs."""
        chance = stream(seed, "images", number)
        images = []
        for place in range(int(self.n.sample(chance))):
            width = int(self.width.sample(chance))
            height = width if self.height is None else int(self.height.sample(chance))
            image = soft_image(repr((seed, salt, "image", number, place)), width, height, self.format)
            images.append(data_url(image, f"image/{self.format}"))
        return images


def soft_image(key: str, width: int, height: int, kind: str) -> bytes:
    """An image file of soft random colours, determined by `key`."""
    from PIL import Image

    small = (width // _GRAIN + 2, height // _GRAIN + 2)
    colours = shake_256(key.encode()).digest(3 * small[0] * small[1])
    image = Image.frombytes("RGB", small, colours).resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def data_url(content: bytes, media_type: str) -> str:
    """A file as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def parse(text: str) -> ImagePlan:
    """Parse an image spec. Raises SpecError with a sentence for each problem."""
    # Distributions contain commas too: only our own keys begin a new part.
    pieces = re.split(rf"(?:^|,)\s*({'|'.join(_KEYS)})\s*=", text.strip())
    values = {key: value.strip() for key, value in zip(pieces[1::2], pieces[2::2], strict=True)}
    if pieces[0].strip() or len(pieces) != 2 * len(values) + 1 or not values:
        raise SpecError(f"images {text!r}: write some of {', '.join(_KEYS)} once each, for example {_EXAMPLE}")
    problems = []
    if "size" in values and ("width" in values or "height" in values):
        problems.append(f"images {text!r}: size sets width and height: leave them out")
    pair = re.fullmatch(r"([0-9]+)x([0-9]+)", values.get("size", "1024x768"))
    texts = {"n": values.get("n", "1"), "width": values.get("width", pair[1] if pair else values.get("size", ""))}
    if "height" in values or (pair and "width" not in values):
        texts["height"] = values.get("height", pair[2] if pair else "")
    kind = {"jpg": "jpeg"}.get(values.get("format", "jpeg"), values.get("format", "jpeg"))
    if kind not in FORMATS:
        problems.append(f"images {text!r}: the format {kind!r} is not one of {', '.join(FORMATS)}")
    drawn: dict[str, Distribution] = {}
    for key, value in texts.items():
        try:
            drawn[key] = parse_distribution(value, "tokens")
        except SpecError as e:
            problems += [f"images, {key}: {problem}" for problem in e.problems]
            continue
        most = MOST_IMAGES if key == "n" else MOST_EDGE
        if drawn[key].share_below(most + 1) < 1 - 1e-6 or drawn[key].share_below(1) > 1e-6:
            problems.append(f"images, {key}: {value!r} draws numbers outside 1 to {most}: limit it with min and max")
    if problems:
        raise SpecError(problems)
    if find_spec("PIL") is None:
        raise SpecError("images need the package Pillow: pip install pillow")
    return ImagePlan(drawn["n"], drawn["width"], drawn.get("height"), kind)
