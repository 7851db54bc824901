"""What to send: prompts, sessions, their lengths, and the seed."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator

from bench.config import fields, values
from bench.config.fields import Tokens, checked, parsed
from bench.modes.interface import DEFAULT_BATCH_INPUTS, DEFAULT_OUTPUT_TOKENS
from bench.modes.sessions import DEFAULT_THINK_TIME, DEFAULT_TURNS
from promptset.agents.recipe import LEAST_LIMIT
from promptset.audio import DEFAULT as DEFAULT_AUDIO
from promptset.video import EXAMPLE as VIDEO_EXAMPLE

option = partial(fields.option, group="data")


class Data(BaseModel):
    """The settings of the group `data`."""

    input_tokens: Tokens = option("1024", "tokens in each prompt: a number or a distribution", metavar="DIST")
    batch_inputs: Annotated[str | None, parsed(values.batch_inputs)] = option(
        None,
        "inputs in each request: texts of --endpoint embeddings, documents of rerank; each has --input-tokens",
        metavar="DIST",
        otherwise=", ".join(f"{n} {what if n != '1' else what[:-1]}" for what, n in DEFAULT_BATCH_INPUTS.items()),
    )
    output_tokens: Tokens | None = option(
        None,
        "tokens to request for each reply",
        metavar="DIST",
        otherwise=f"{DEFAULT_OUTPUT_TOKENS}; with --dataset what its rows say, or else the server's own limit",
    )
    dataset: Annotated[str | None, checked(values.data_set)] = option(
        None,
        "your own prompts or a trace (JSON Lines, CSV, text, Parquet), or the name of a recipe "
        "(python -m bench dataset --recipe list)",
        metavar="FILE|NAME",
    )
    columns: Annotated[str | None, checked(values.columns)] = option(
        None, "which columns of --dataset to use: prompt=question,output_tokens=len", metavar="SPEC"
    )
    bad_rows: Literal["fail", "skip"] = option("fail", "stop at rows that are wrong, or skip them")
    text: str = option(
        "words", "kind of text: words, english, code, json, chinese, mixed, random, faker:LOCALE", metavar="KIND"
    )
    repeated_text: float = option(
        0.0, "share of each prompt that repeats earlier parts of it", metavar="SHARE", ge=0, lt=1
    )
    tools: str | None = option(
        None,
        "a JSON list of tools (as in OpenAI's chat) that every simulated chat offers; --input-tokens includes them",
        metavar="FILE",
    )
    tool_choice: str | None = option(
        None,
        "whether the model must call a tool: auto, required, none, or the name of the tool",
        metavar="CHOICE",
        otherwise="the server's default, auto",
    )
    turns: Tokens | None = option(None, "mode sessions: turns in each session", metavar="DIST", otherwise=DEFAULT_TURNS)
    think_time: Annotated[str | None, parsed(values.time_lengths)] = option(
        None, "mode sessions: time between an answer and the next turn", metavar="DIST", otherwise=DEFAULT_THINK_TIME
    )
    context_limit: int | None = option(
        None,
        "mode sessions with a recipe: the model's window in tokens, to which all lengths of the recipe are scaled",
        metavar="TOKENS",
        ge=LEAST_LIMIT,
        otherwise="the recipe's, 200000 for coding-agent",
    )
    history: Literal["real", "planned", "stored"] = option(
        "real",
        "mode sessions: put the server's own answers into the history, or planned ones of exact length; or let the server "
        "store it (endpoint responses)",
    )
    reasoning_in_history: Literal["echo", "drop"] = option(
        "drop", "mode sessions: send the server's reasoning back in the history, or leave it out as chat templates do"
    )
    prefix: str | None = option(None, "let prompts share a prefix, for example tokens=512,groups=4", metavar="SPEC")
    tokenizer: str | None = option(
        None,
        "the model's tokenizer: a directory, a file or a hub id; `server` uses the server's own (a URL: that server's)",
        metavar="T",
    )
    check_usage: bool = option(
        False, "check the server's token counts with the default tokenizer, which must be the model's"
    )
    check_answers: Annotated[float | None, parsed(values.part)] = option(
        None,
        "check answers under load: --probes, whose right answers are known, replace this share of the requests (0.05)",
        metavar="SHARE",
    )
    probes: Annotated[str | None, parsed(values.probes)] = option(
        None,
        "the probes of --check-answers: how many, kinds (canary=200,arithmetic=100), or a file of questions with answers",
        metavar="SPEC|FILE",
        otherwise=values.DEFAULT_PROBES,
    )
    images: Annotated[str | None, checked(values.images)] = option(
        None,
        "images in every simulated chat: n=1,size=1024x768,format=jpeg; n and size may be distributions",
        metavar="SPEC",
    )
    audio: Annotated[str | None, checked(values.audio)] = option(
        None,
        "an audio clip in every simulated chat, or for transcriptions and realtime: length=5s; length may be a distribution",
        metavar="SPEC",
        otherwise=f"none; for transcriptions {DEFAULT_AUDIO}, or the rows of --dataset",
    )
    video: Annotated[str | None, checked(values.video)] = option(
        None, f"videos in every simulated chat: {VIDEO_EXAMPLE}; n and length may be distributions", metavar="SPEC"
    )
    play_after: Annotated[float, BeforeValidator(values.seconds)] = option(
        0.0,
        "endpoints speech and realtime: how long a player waits after the first audio, for playback stalls",
        metavar="S",
    )
    prompt_ids: bool = option(
        False,
        "endpoint completions: send the ids of each prompt's tokens instead of its text; needs the model's --tokenizer",
    )
    seed: int = option(
        0,
        "seed of everything random: lengths, order, sharing and arrivals; texts differ from run to run",
        metavar="N",
        ge=0,
        le=values.MOST_SEED,
    )
    same_prompts: bool = option(
        False, "send the same prompts in every run of this seed", otherwise="fresh texts, which no prefix cache knows"
    )
