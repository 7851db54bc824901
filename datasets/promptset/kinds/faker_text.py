"""Text in the languages of the library `faker` (extra `text`): `faker:de_DE`, `faker:ja_JP`, ..."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from promptset.errors import SpecError
from promptset.kinds.text_kind import TextKind
from promptset.rng import Random

_WORDS = (5, 14)
_PEOPLE_SHARE = 0.2
# Languages written without spaces between words.
_UNSPACED = ("zh", "ja", "th")


def faker_kind(locale: str) -> TextKind:
    """The kind for a locale such as de_DE. Raises SpecError."""
    if importlib.util.find_spec("faker") is None:
        raise SpecError(f"text faker:{locale} needs the package faker: pip install faker")
    faker: Any = importlib.import_module("faker")
    try:
        fake = faker.Faker(locale)
    except AttributeError as e:
        raise SpecError(f"faker has no locale {locale}: write one such as de_DE, fr_FR or ja_JP") from e

    def unit(rng: Random) -> str:
        # The library has its own generator. It is seeded for each unit, so that an additional unit changes no other.
        fake.seed_instance(int(rng.random() * 2**53))
        words = _WORDS[0] + int(rng.random() * (_WORDS[1] - _WORDS[0] + 1))
        sentence = str(fake.sentence(nb_words=words))
        return f"{fake.name()}: {sentence}" if rng.random() < _PEOPLE_SHARE else sentence

    glue = "" if locale.startswith(_UNSPACED) else " "
    return TextKind(unit, glue=glue, fill_open=glue, own_words=True)
