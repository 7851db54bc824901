"""Tasks: list, create, start, stop, change."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from bench.console.access import TheConsole
from bench.console.api.bodies import Clone, MarkTask, NewTask, SetLoad, Start
from bench.console.task import selected

routes = APIRouter()
MOST_ACTS = 10_000


@routes.get("/tasks", summary="All tasks, the latest first")
def tasks(
    console: TheConsole, state: str | None = None, label: str | None = None, search: str = ""
) -> list[dict[str, Any]]:
    return [task.to_json() for task in selected(console.tasks(whole=True), state, label, search)]


@routes.post("/tasks", status_code=201, summary="A new task, started as soon as nothing else runs")
def create(console: TheConsole, new: NewTask) -> dict[str, Any]:
    task = console.create(
        new.settings,
        secrets=new.secrets,
        target=new.target,
        kind=new.kind,
        title=new.title,
        start=new.start,
        start_at=new.start_at,
    )
    return task.to_json()


@routes.get("/tasks/{task}", summary="One task")
def one(console: TheConsole, task: str) -> dict[str, Any]:
    return console.task(task).to_json()


@routes.get("/tasks/{task}/history", summary="Who did what with a task, if a proxy names people")
def history(console: TheConsole, task: str) -> list[dict[str, Any]]:
    return [asdict(act) for act in console.history(task)]


@routes.get("/history", summary="Who did what with any task, the latest first; those that were deleted too")
def latest_history(console: TheConsole, most: Annotated[int, Query(ge=0, le=MOST_ACTS)] = 200) -> list[dict[str, Any]]:
    return [{"task": task, **asdict(act)} for task, act in console.store.latest_acts(most)]


@routes.patch("/tasks/{task}", summary="Change title, label, note or baseline")
def mark(console: TheConsole, task: str, changes: MarkTask) -> dict[str, Any]:
    return console.mark(task, changes.model_dump(exclude_unset=True)).to_json()


@routes.delete("/tasks/{task}", status_code=204, summary="Take a task out of the list; with files=true for good")
def remove(console: TheConsole, task: str, files: bool = False) -> Response:
    console.remove(task, files=files)
    return Response(status_code=204)


@routes.post("/tasks/{task}/restore", summary="Put a task back that was taken out of the list with its files kept")
def restore(console: TheConsole, task: str) -> dict[str, Any]:
    return console.restore(task).to_json()


@routes.post("/tasks/{task}/start", summary="Put a task into the queue")
def start(console: TheConsole, task: str, given: Start | None = None) -> dict[str, Any]:
    given = given or Start()
    return console.queue.start(task, given.secrets, given.start_at).to_json()


@routes.post(
    "/tasks/{task}/go-on", summary="Continue a task of several runs (search, sweep, quality) that was stopped or killed"
)
def go_on(console: TheConsole, task: str, given: Start | None = None) -> dict[str, Any]:
    given = given or Start()
    return console.queue.go_on(task, given.secrets, given.start_at).to_json()


@routes.post("/tasks/{task}/stop", summary="Stop sending and let requests finish; the second time, cut them")
def stop(console: TheConsole, task: str) -> dict[str, Any]:
    return console.queue.stop(task).to_json()


@routes.post("/tasks/{task}/load", summary="Set the users, or the requests per second, of a task that runs")
def set_load(console: TheConsole, task: str, given: SetLoad) -> dict[str, Any]:
    return asdict(console.set_load(task, given.load))


@routes.post("/tasks/{task}/clone", status_code=201, summary="The same task again, with changes")
def clone(console: TheConsole, task: str, given: Clone | None = None) -> dict[str, Any]:
    given = given or Clone()
    return console.clone(task, given.settings, secrets=given.secrets, start=given.start).to_json()


@routes.post("/tasks/{task}/move", summary="Move a task in the queue: -1 towards its front, 1 towards its end")
def move(console: TheConsole, task: str, places: int) -> dict[str, Any]:
    console.queue.move(task, places)
    return console.task(task).to_json()
