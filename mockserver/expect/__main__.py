"""`python -m mockserver.expect` computes expectations: {"config": ..., "asked": ...} on stdin, JSON on stdout."""

from __future__ import annotations

import os
import sys

import orjson

from mockserver.config import MockConfig
from mockserver.expect import EXPECTATIONS, RequestLengths

if __name__ == "__main__":
    if sys.platform != "win32":
        os.nice(10)
    question = orjson.loads(sys.stdin.buffer.read())
    config = MockConfig(**question["config"])
    sys.stdout.buffer.write(orjson.dumps(EXPECTATIONS[config.engine](config, RequestLengths(**question["asked"]))))
