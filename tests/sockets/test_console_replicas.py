"""A load over two replicas as a console task: rows for each while it runs, and all addresses in its clone."""

from __future__ import annotations

from pathlib import Path

from tests.support.console_process import console_of, new, until
from tests.support.mock_process import mock_process


def test_a_task_over_two_replicas_has_rows_of_each_and_is_cloned_whole(tmp_path: Path) -> None:
    with (
        mock_process("--ttft", "100ms") as one,
        mock_process("--ttft", "100ms", "--fault", "500:every=2,skip=4") as other,
        console_of(tmp_path) as (client, _),
    ):
        both = [one.url, f"{other.url}=3"]
        task = new(client, both, "two", duration="600s", warmup="0")

        def replicas() -> dict[str, dict[str, float]]:
            lines = client.get(f"/tasks/{task}/live").json()
            return {row["replica"]: row for row in lines[-1].get("replicas", ())} if lines else {}

        until(client, task, lambda _: replicas().get(other.url, {}).get("failed", 0) > 0 and one.url in replicas())
        seen = replicas()
        assert (seen.keys(), seen[one.url]["failed"]) == ({one.url, other.url}, 0)
        client.post(f"/tasks/{task}/stop")
        ended = until(client, task, lambda found: found["has_report"])
        assert ended["target"] == f"{one.url} +1"
        summary = client.get(f"/tasks/{task}/summary").json()
        assert {part["target"] for part in summary["per_target"]} == {one.url, other.url}
        again = client.post(f"/tasks/{task}/clone", json={"settings": {"duration": None, "requests": 8}}).json()
        assert again["settings"]["url"] == both
        until(client, again["id"], lambda found: found["has_report"])
