"""The loads that scripts/compare-tools puts on the mock."""

from __future__ import annotations

from compared.tool import Load

LOADS = {
    "hard": Load(
        "4 streams; an early role chunk, 32 reasoning tokens, 4 tokens a chunk, a finish reason alone",
        requests=20,
        streams=4,
        mock="--fault role_early --reasoning-tokens 32 --stream-interval 4 --finish separate",
    ),
    "4": Load("4 streams", requests=20, streams=4),
    "32": Load("32 streams", requests=192, streams=32),
    "500": Load("500 streams", requests=1500, streams=500),
    "poisson": Load("Poisson, 20 requests/s", requests=400, rate=20.0),
}
"""By their names in --loads."""
