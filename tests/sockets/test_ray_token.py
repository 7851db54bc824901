"""A Ray cluster with a token, as in docs/cluster.md: every node and the driver share it."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import Exit
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ray_nodes import RayNodes, ray_nodes
from tests.support.run_process import flags, process, records

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed"),
    pytest.mark.usefixtures("work_folder"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    with ray_nodes(2, processors=2, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32)) as running:
        yield running


def test_a_driver_with_the_token_sends_from_both_nodes_and_one_without_is_told_what_it_lacks(
    tmp_path: Path, cluster: RayNodes
) -> None:
    with mock_process("--ttft", "5ms", "--tpot", "1ms") as mock:
        words = flags(mock.url, tmp_path, "--cluster", "ray", "--requests", "20", "--quiet", "--workers-per-node", "1")
        with process(words, env=cluster.environment) as running:
            _, err = running.communicate(timeout=PATIENCE_S)
        assert running.returncode in (Exit.GOOD, Exit.INVALID), err
        assert {row["worker"] for row in records(tmp_path)} == {0, 1}

        # A separate home, because Ray looks for a token there, too.
        without = {key: value for key, value in cluster.environment.items() if key not in cluster.variables}
        words = flags(mock.url, tmp_path, "--cluster", cluster.address, "--requests", "20", "--quiet", out="other")
        with process(words, env={**without, "HOME": str(tmp_path)}) as running:
            _, err = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == Exit.USAGE, err
        assert f"error: --cluster {cluster.address}: Ray says: " in err
        assert "A cluster with a token needs RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN here too" in err
