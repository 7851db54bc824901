"""Groups: prompts fall into groups, in turn. All prompts of a group start with the same tokens."""

from __future__ import annotations

from dataclasses import dataclass

from promptset.sharing.scheme import COUNT, Key, Path, Room, SchemeSyntax


@dataclass(frozen=True, slots=True)
class Groups:
    """`tokens` shared tokens for each of `groups` groups."""

    tokens: int
    groups: int

    def __str__(self) -> str:
        return f"tokens={self.tokens},groups={self.groups}"

    @property
    def least(self) -> int:
        return self.tokens

    def path(self, index: int, seed: int, room: Room) -> Path:
        """The shared segment of the prompt's group."""
        return ((index % self.groups, self.tokens),)


SYNTAX = SchemeSyntax(
    {"tokens": COUNT, "groups": Key(1, 1e9, default=1)},
    lambda values: Groups(int(values["tokens"]), int(values["groups"])),
    "tokens=512,groups=4",
)
