"""The attacks, grouped by target. An attack runs a checkout of Trueload against a hostile setup, and returns what that
run reported: one short text, which is a cell of the table."""

from __future__ import annotations

from collections.abc import Callable

from attacked import mock_server, numbers, replies, surroundings
from attacked.checkout import Checkout

Attack = Callable[[Checkout], str]

ATTACKS: dict[str, dict[str, Attack]] = {
    "Numbers": numbers.ATTACKS,
    "Replies that fail with status 200": replies.ENDINGS,
    "HTTP and sizes": replies.HTTP,
    "Files, limits and secrets": surroundings.ATTACKS,
    "The mock": mock_server.ATTACKS,
}
