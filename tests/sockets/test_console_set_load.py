"""The load of a running task, changed from its page and through the API."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx

from tests.support.console_process import console_of, new, until
from tests.support.mock_process import mock_process


def test_the_load_of_a_running_task_is_set_from_its_page_and_the_api(tmp_path: Path) -> None:
    with mock_process("--ttft", "200ms", "--tpot", "1ms") as mock, console_of(tmp_path) as (client, _):
        task = new(client, mock.url, "manual", concurrency=2, duration="900s")
        while not any(line["done"] for line in client.get(f"/tasks/{task}/live").json()):
            time.sleep(0.1)
        said = client.post(f"/tasks/{task}/load", json={"load": 5})
        assert (said.status_code, said.json()["load"], said.json()["unit"]) == (200, 5, "users"), said.text
        for load, words in ((5, "the load is 5 users already"), (2.5, "users do not exist"), (0, "not a load")):
            refused = client.post(f"/tasks/{task}/load", json={"load": load})
            assert (refused.status_code, words in refused.json()["error"]) == (409, True), refused.text
            assert str(tmp_path) not in refused.text
        root, bearer = str(client.base_url).removesuffix("/api/"), dict(client.headers)
        # The page works without JavaScript: its field has the present load, and posts to the same operation.
        while not re.search(
            r'name="load"[^>]* value="5"', page := httpx.get(f"{root}/tasks/{task}", headers=bearer).text
        ):
            time.sleep(0.1)
        assert f'action="/tasks/{task}/load"' in page
        assert 'name="csrf"' in page.partition('id="set-load"')[2].partition("</form>")[0]
        posted = httpx.post(f"{root}/tasks/{task}/load", headers=bearer, data={"load": "3"})
        assert posted.status_code == 303, posted.text
        wrong = httpx.post(f"{root}/tasks/{task}/load", headers=bearer, data={"load": "many"}, follow_redirects=True)
        assert (wrong.status_code, "&#39;many&#39; is not a load" in wrong.text) == (400, True)
        # A browser on another site, without the page's token, changes nothing.
        with httpx.Client(base_url=root) as entered:
            entered.get("/", params={"token": bearer["authorization"].removeprefix("Bearer ")})
            assert entered.cookies
            assert entered.post(f"/tasks/{task}/load", data={"load": "9"}).status_code == 403
        client.post(f"/tasks/{task}/stop")
        until(client, task, lambda found: found["has_report"])
        summary = client.get(f"/tasks/{task}/summary").json()
        assert [(row["to"], row["by"]) for row in summary["changes"]] == [(5, "console"), (3, "console")]
        assert [segment["first"] for segment in summary["segments"]] == [2, 5, 3]
        over = client.post(f"/tasks/{task}/load", json={"load": 4})
        assert (over.status_code, "the load can be set only while a task runs" in over.json()["error"]) == (409, True)
        assert "/api/tasks/{task}/load" in httpx.get(f"{root}/openapi.json", headers=bearer).json()["paths"]
