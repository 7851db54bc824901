"""The page of the API's routes, as its OpenAPI document lists them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from bench.console.language import Phrase, shown
from bench.console.pages.site import TheSite

routes = APIRouter()


@routes.get("/api")
def about_api(request: Request, site: TheSite) -> HTMLResponse:
    operations = [
        (method.upper(), path, shown(Phrase(operation.get("summary", ""))).replace("`", ""))
        for path, methods in request.app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]
    return site.page("api", routes=operations)
