"""Saved servers, and the built-in mock."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from bench.console.errors import ConsoleError
from bench.console.language import tr
from bench.console.pages.site import Fields, TheSite, back
from bench.endpoints import ENDPOINTS

_FIELDS = ("name", "url", "endpoint", "model", "tokenizer", "key_variable", "header_variables")

routes = APIRouter()


@routes.get("/targets")
def targets(request: Request, site: TheSite) -> HTMLResponse:
    answer = site.answer_of(request)
    values = {"targets": site.console.store.targets(), "endpoints": ", ".join(ENDPOINTS), "typed": {}}
    return site.page("targets", answer.status, **{**values, **answer.values})


@routes.post("/targets")
def save(fields: Fields, site: TheSite) -> Response:
    typed = {name: fields.get(name, "") for name in _FIELDS}
    try:
        site.console.save_target({**typed, "header_variables": _variables(typed["header_variables"])})
    except ConsoleError as e:
        return site.answer("/targets", e.status, problem=str(e), typed=typed)
    return back("/targets")


@routes.post("/targets/{name}/{action}")
def target_action(name: str, action: str, site: TheSite) -> Response:
    try:
        if action == "probe":
            answer = site.console.probe({}, {}, site.console.target(name))
            return site.answer("/targets", message=tr("%(name)s: %(sentence)s", name=name, sentence=answer))
        if action == "remove":
            site.console.remove_target(name)
    except ConsoleError as e:
        return site.answer("/targets", e.status, problem=tr("%(name)s: %(sentence)s", name=name, sentence=str(e)))
    return back("/targets")


@routes.post("/mock/{action}")
def mock_action(action: str, fields: Fields, site: TheSite) -> Response:
    flags, mock = fields.get("flags", ""), site.console.mock
    try:
        if action == "start":
            mock.start(flags or mock.flags)
        else:
            mock.stop()
    except ConsoleError as e:
        problem = tr("the mock: %(sentence)s", sentence=str(e))
        return site.answer("/targets", e.status, problem=problem, typed={"flags": flags})
    return back("/targets")


def _variables(text: str) -> dict[str, str]:
    """The environment variable of each header. Raises ConsoleError for a line that is not NAME: VARIABLE."""
    pairs = [line.partition(":") for line in text.splitlines() if line.strip()]
    variables = {header.strip(): variable.strip() for header, _, variable in pairs}
    if not all(variables) or not all(variables.values()):
        raise ConsoleError(tr("write each header as NAME: VARIABLE, one on a line"))
    return variables
