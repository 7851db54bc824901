"""Wrong tokens: after a few, each is answered late, and after some more their sender is locked out for a while.

A browser that has its cookie goes on meanwhile: nobody guesses a cookie, which is drawn at random.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench.clock import NS_PER_S

FREE = 3
"""Wrong tokens that are answered at once: people mistype."""
LATE_NS = NS_PER_S
LOCKED_AFTER = 10
LOCKED_NS = 60 * NS_PER_S
FORGOTTEN_NS = 600 * NS_PER_S
"""After this time without a wrong token, a sender begins anew."""
MOST_SENDERS = 1_000


@dataclass(slots=True)
class _Sender:
    wrong: int = 0
    last_ns: int = 0
    locked_until_ns: int = 0


def _log(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr, flush=True)


class Guesses:
    """The wrong tokens of each sender. Times are in ns, of any clock that only goes forward."""

    def __init__(self, say: Callable[[str], None] = _log) -> None:
        self._say = say
        self._senders: dict[str, _Sender] = {}

    def locked_ns(self, address: str, now_ns: int) -> int:
        """For how long a sender is locked out yet; 0 if it is not."""
        sender = self._senders.get(_network(address))
        return 0 if sender is None else max(0, sender.locked_until_ns - now_ns)

    def wrong(self, address: str, now_ns: int) -> int:
        """Count a wrong token. Returns how long its answer waits."""
        name = _network(address)
        sender = self._senders.pop(name, _Sender())
        if now_ns - sender.last_ns > FORGOTTEN_NS:
            sender = _Sender()
        self._senders[name] = sender  # The latest is the last one.
        while len(self._senders) > MOST_SENDERS:
            del self._senders[next(iter(self._senders))]
        sender.wrong, sender.last_ns = sender.wrong + 1, now_ns
        if sender.wrong % LOCKED_AFTER == 0:
            sender.locked_until_ns = now_ns + LOCKED_NS
            self._say(f"{sender.wrong} wrong tokens from {name}: locked out for {LOCKED_NS // NS_PER_S} s")
        return LATE_NS if sender.wrong > FREE else 0


def _network(address: str) -> str:
    """The address; of IPv6 the network of 64 bits, all of which one machine may have."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))
