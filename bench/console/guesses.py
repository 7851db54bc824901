"""Limits guesses of the token: after a few wrong ones, answers are delayed; after more, the sender is locked out for a
while.

A browser with a valid cookie is not affected: the cookie is random and cannot be guessed.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench.clock import NS_PER_S

FREE = 3
"""Wrong tokens that are answered without delay: people mistype."""
LATE_NS = NS_PER_S
LOCKED_AFTER = 10
LOCKED_NS = 60 * NS_PER_S
FORGOTTEN_NS = 600 * NS_PER_S
"""After this time without a wrong token, a sender's count is reset."""
MOST_SENDERS = 1_000


@dataclass(slots=True)
class _Sender:
    wrong: int = 0
    last_ns: int = 0
    locked_until_ns: int = 0


def _log(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


class Guesses:
    """The wrong tokens of each sender. Times are in ns, of any monotonic clock."""

    def __init__(self, say: Callable[[str], None] = _log) -> None:
        self._say = say
        self._senders: dict[str, _Sender] = {}

    def locked_ns(self, address: str, now_ns: int) -> int:
        """The remaining lockout of a sender in ns; 0 if it is not locked out."""
        sender = self._senders.get(_network(address))
        return 0 if sender is None else max(0, sender.locked_until_ns - now_ns)

    def wrong(self, address: str, now_ns: int) -> int:
        """Count a wrong token. Returns the delay of its answer in ns."""
        name = _network(address)
        sender = self._senders.pop(name, _Sender())
        if now_ns - sender.last_ns > FORGOTTEN_NS:
            sender = _Sender()
        self._senders[name] = sender  # Kept in order of the latest guess.
        while len(self._senders) > MOST_SENDERS:
            del self._senders[next(iter(self._senders))]
        sender.wrong, sender.last_ns = sender.wrong + 1, now_ns
        if sender.wrong % LOCKED_AFTER == 0:
            sender.locked_until_ns = now_ns + LOCKED_NS
            self._say(f"{sender.wrong} wrong tokens from {name}: locked out for {LOCKED_NS // NS_PER_S} s")
        return LATE_NS if sender.wrong > FREE else 0


def _network(address: str) -> str:
    """The address itself, or for IPv6 its /64 network, since one machine may own all of that."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))
