"""The dependency that gives the routes of the API and the pages their console."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from bench.console.service import Console


async def _console(request: Request) -> Console:
    return cast(Console, request.app.state.console)


TheConsole = Annotated[Console, Depends(_console)]
