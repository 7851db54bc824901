"""Natural-looking English: grammatical sentences from a small grammar that make a little sense."""

from __future__ import annotations

from promptset.kinds.text_kind import TextKind
from promptset.rng import Random


def _phrases(text: str) -> list[str]:
    return text.replace("\n", "|").split("|")


_PEOPLE = _phrases("""The engineer|A young teacher|My neighbor|The old captain|Our manager|The committee|A nurse|Their lawyer
The librarian|Each visitor|The farmer|Her brother|A local reporter|The research team|Nobody in the office|The new owner
An experienced pilot|The mayor|His editor|Most customers|The night guard|A group of students|The architect""")
_DID = _phrases("""noticed|described|repaired|forgot|ordered|explained|carried|painted|sold|returned|measured|borrowed|hid
studied|copied|defended|ignored|collected|photographed|questioned|delivered|praised|compared|recorded""")
_HOW = _phrases("""broken|expensive|green|heavy|unfinished|ancient|quiet|famous|useful|strange|wooden|digital|narrow|secret
simple|remarkable|frozen|private|modern|second""")
_THINGS = _phrases("""bridge|contract|telescope|garden|engine|report|painting|recipe|map|schedule|library|harbor|letter|budget
machine|notebook|museum|proposal|kitchen|satellite|ticket|theory|window|village|camera""")
_WHERE = _phrases("""near the station|in the north of the city|behind the school|at the edge of the forest|during the meeting
before the storm|after a long discussion|for several months|without any help|on the second floor|in early spring
under the old arch|with great care|in front of everyone|by the end of the week|along the river""")
_WHY = _phrases("""because the weather had changed|so that others could use it|although it was late|when the lights went out
while the music played|since no one had asked before|until the phone rang|if the price was right
even though the plan had failed|as soon as the doors opened""")


def unit(rng: Random) -> str:
    """One sentence."""

    def pick(of: list[str]) -> str:
        return of[int(rng.random() * len(of))]

    sentence = f"{pick(_PEOPLE)} {pick(_DID)} the {pick(_HOW)} {pick(_THINGS)} {pick(_WHERE)}"
    tail = rng.random()
    if tail < 0.4:
        sentence += f" {pick(_WHY)}"
    elif tail < 0.6:
        sentence += f", and {pick(_PEOPLE).lower()} {pick(_DID)} the {pick(_THINGS)}"
    return f"{sentence}."


ENGLISH = TextKind(unit, glue=" ", fill_open=" ", heading_close="\n\n")
