"""Finds settings of the data that cannot be combined."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bench import transport as transports
from bench.config.settings import Settings
from bench.endpoints import ENDPOINTS
from bench.endpoints.choice import endpoint_of, name_of
from bench.endpoints.custom import CustomEndpoint
from bench.endpoints.interface import TOOL_CHOICES
from bench.modes.interface import flag
from bench.traffic import models
from promptset import recipes
from promptset.errors import SpecError
from promptset.kinds import parse_style
from promptset.probes import parse_probes
from promptset.sharing import parse_prefix
from promptset.tools import load_tools


def problems_of_data(settings: Settings, given: Collection[str]) -> list[str]:
    """A sentence for each setting of the data that does not fit the others. `given` contains the names of the given
    settings."""
    problems = []
    if settings.dataset is None or settings.recipe is not None:
        wrong = [key for key in ("columns", "bad_rows") if key in given]
        problems += [f"{flag(key)} needs a file in --dataset" for key in wrong]
    if settings.recipe is not None:
        problems += _recipe_problems(settings.recipe, settings.mode == "sessions")
    if settings.dataset is not None:
        wrong = [key for key in ("input_tokens", "text", "repeated_text", "prefix") if key in given]
        problems += [
            f"{flag(key)} shapes simulated prompts, and --dataset has its own: leave {flag(key)} out" for key in wrong
        ]
    if settings.prefix is not None:
        problems += _prefix_problems(settings.prefix)
    problems += _media_problems(settings)
    n = (settings.extra_body or {}).get("n")
    if settings.mode == "sessions" and type(n) is int and n > 1:
        problems.append(f"--extra-body asks for {n} choices (n), but a session continues with one answer: leave n out")
    if settings.websocket or endpoint_of(settings).only_socket:
        problems += _websocket_problems(settings)
    if settings.check_answers is not None:
        problems += _probe_problems(settings)
    elif settings.probes is not None:
        problems.append("--probes says which answers are checked: add --check-answers 5%, their share of the requests")
    if settings.prompt_ids:
        problems += _ids_problems(settings)
    if settings.tools is not None:
        problems += _tools_problems(settings, settings.tools)
    elif settings.tool_choice is not None and (settings.dataset is None or settings.recipe is not None):
        problems.append("--tool-choice needs tools: give a list of them with --tools")
    if "text" in given:
        problems += _text_problems(settings.text)
    return problems + _unsent_problems(settings, given)


def _unsent_problems(settings: Settings, given: Collection[str]) -> list[str]:
    """Settings that no request of the endpoint has a place for."""
    endpoint, name = endpoint_of(settings), name_of(settings)
    if endpoint.only_socket and settings.ignore_eos:
        return [f"--ignore-eos is not a field of --endpoint {name}: leave it out"]
    if not isinstance(endpoint, CustomEndpoint):
        return []
    problems = [
        f"{flag(key)} has no effect: the body of {name} has no {{{{ {place} }}}}"
        for key, place in (("output_tokens", "max_tokens"), ("ignore_eos", "ignore_eos"))
        if key in given and getattr(settings, key) and place not in endpoint.fills
    ]
    if settings.model is not None and len(models.parse(settings.model).names) > 1 and not endpoint.names_model:
        problems.append(f"--model: requests of {name} name no model, so there is nothing to divide: leave it out")
    return problems


def _media_problems(settings: Settings) -> list[str]:
    """Problems with images, audio and video in chats. The audio of a transcription is not part of a chat."""
    endpoint, problems = endpoint_of(settings), []
    for kind in ("images", "audio", "video"):
        if getattr(settings, kind) is None or (kind == "audio" and endpoint.takes_audio):
            continue
        shaped = isinstance(endpoint, CustomEndpoint) and not endpoint.takes_images
        if kind == "images" and endpoint.takes_messages and shaped:
            problems.append(f"--images: messages of {name_of(settings)} have only texts (its key `message`)")
        elif kind == "images" and not endpoint.takes_messages:
            problems.append(f"--images need a chat, but the endpoint is {name_of(settings)}")
        if kind != "images" and not endpoint.takes_media:
            other = ", transcriptions or realtime" if kind == "audio" else ""
            problems.append(f"--{kind} needs --endpoint chat{other}, and the endpoint is {name_of(settings)}")
        verb, does = ("are", "do") if kind == "images" else ("is", "does")
        if settings.dataset is not None and settings.recipe is None:
            problems.append(f"--{kind} {verb} for simulated chats, but the rows of --dataset bring their own")
        if settings.mode == "sessions":
            problems.append(f"--{kind} {does} not work with --mode sessions: sessions are texts")
        if settings.tools is not None:
            problems.append(f"--{kind} {does} not work with --tools: use only one of them")
    return problems


def _websocket_problems(settings: Settings) -> list[str]:
    endpoint, name = endpoint_of(settings), name_of(settings)
    subject = f"--endpoint {name}" if endpoint.only_socket else "--websocket"
    problems = []
    if settings.websocket and (endpoint.socket is None or endpoint.only_socket):
        why = "always uses one" if endpoint.only_socket else "has no WebSocket"
        problems.append(f"--websocket needs --endpoint responses: {name} {why}")
    if not settings.stream:
        problems.append(f"{subject} and --no-stream cannot be combined: a WebSocket always streams")
    if settings.transport != "wire":
        here = "" if transports.missing("wire") is None else ", and wire needs Linux"
        problems.append(f"{subject} needs --transport wire: {settings.transport} has no WebSocket{here}")
    return problems


def _probe_problems(settings: Settings) -> list[str]:
    if not endpoint_of(settings).generates:
        return [f"--check-answers needs an endpoint that answers: {name_of(settings)} generates no text"]
    problems = []
    if settings.mode == "sessions" and settings.check_answers == 1:
        problems.append("--check-answers 100% leaves no session to hold: give a smaller share, or use another mode")
    asked = () if settings.probes is None else parse_probes(settings.probes)
    if not endpoint_of(settings).takes_tools and any(part.source == "tool" for part in asked):
        problems.append(
            f"--probes: the kind tool needs an endpoint with tools, and {name_of(settings)} has none: name other kinds"
        )
    return problems


def _ids_problems(settings: Settings) -> list[str]:
    endpoint = name_of(settings)
    problems = []
    if endpoint != "completions":
        problems.append(f"--prompt-ids is for --endpoint completions: {endpoint} takes only texts")
    if settings.tokenizer is None and not settings.check_usage:
        problems.append(
            "--prompt-ids needs the model's own tokenizer: name it with --tokenizer, or confirm with "
            "--check-usage that the default one is the model's"
        )
    return problems


def _tools_problems(settings: Settings, file: str) -> list[str]:
    problems = []
    endpoint = name_of(settings)
    if not endpoint_of(settings).takes_tools and endpoint_of(settings).generates:
        chats = ", ".join(name for name, candidate in ENDPOINTS.items() if candidate.takes_messages)
        problems.append(f"--tools need a chat, but the endpoint is {endpoint}: use one of {chats}")
    if settings.dataset is not None and settings.recipe is None:
        problems.append("--tools are for simulated chats, but the rows of --dataset bring their own (`tools`)")
    try:
        names = [tool["function"]["name"] for tool in load_tools(Path(file))]
        if settings.tool_choice is not None and settings.tool_choice not in (*TOOL_CHOICES, *names):
            choices = ", ".join((*TOOL_CHOICES, *names))
            problems.append(f"--tool-choice: {settings.tool_choice} is not one of {choices}")
    except SpecError as e:
        problems += [f"--tools: {problem}" for problem in e.problems]
    return problems


def _text_problems(kind: str) -> list[str]:
    try:
        parse_style(kind)
    except SpecError as e:
        return [f"--text: {problem}" for problem in e.problems]
    return []


def _recipe_problems(name: str, of_sessions: bool) -> list[str]:
    try:
        recipes.load_sessions(name) if of_sessions else recipes.load(name)
    except SpecError as e:
        return [f"--dataset: {problem}" for problem in e.problems]
    return []


def _prefix_problems(spec: str) -> list[str]:
    try:
        parse_prefix(spec)
    except SpecError as e:
        return [f"--prefix: {e}"]
    return []
