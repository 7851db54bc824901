"""The settings that modes read. `Settings` in bench/config declares them; a mode only names what it needs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.schedule.segments import Segment
    from bench.traffic.classes import TrafficMix


class Settings(Protocol):
    """Settings as a user gave them, each with its default if it was not given."""

    @property
    def url(self) -> str: ...

    @property
    def endpoint(self) -> str | None: ...

    @property
    def websocket(self) -> bool: ...

    @property
    def api(self) -> Mapping[str, Any] | None: ...

    @property
    def stream(self) -> bool: ...

    # What --endpoint http sends and expects.
    @property
    def method(self) -> str | None: ...

    @property
    def body(self) -> str | None: ...

    @property
    def body_template(self) -> str | None: ...

    @property
    def rows(self) -> str: ...

    @property
    def expect(self) -> tuple[str, ...]: ...

    @property
    def seed(self) -> int: ...

    # How much load, and when.
    @property
    def concurrency(self) -> int | None: ...

    @property
    def rate(self) -> float | None: ...

    @property
    def arrivals(self) -> str | None: ...

    @property
    def burstiness(self) -> float: ...

    @property
    def max_concurrency(self) -> int | None: ...

    @property
    def drop_late(self) -> bool: ...

    @property
    def requests(self) -> int | None: ...

    @property
    def duration(self) -> float | None: ...

    @property
    def warmup(self) -> str: ...

    @property
    def trace_speed(self) -> float: ...

    @property
    def max_idle(self) -> float | None: ...

    # What is sent.
    @property
    def dataset(self) -> str | None: ...

    @property
    def columns(self) -> str | None: ...

    @property
    def bad_rows(self) -> Literal["fail", "skip"]: ...

    @property
    def input_tokens(self) -> str: ...

    @property
    def output_tokens(self) -> str | None: ...

    @property
    def extra_body(self) -> Mapping[str, Any] | None: ...

    @property
    def play_after(self) -> float: ...

    @property
    def audio(self) -> str | None: ...

    @property
    def batch_inputs(self) -> str | None: ...

    @property
    def prefix(self) -> str | None: ...

    @property
    def tools(self) -> str | None: ...

    @property
    def text(self) -> str: ...

    @property
    def repeated_text(self) -> float: ...

    # Sessions.
    @property
    def turns(self) -> str | None: ...

    @property
    def think_time(self) -> str | None: ...

    @property
    def history(self) -> Literal["real", "planned", "stored"]: ...

    @property
    def reasoning_in_history(self) -> Literal["echo", "drop"]: ...

    @property
    def sessions_begin(self) -> Literal["first", "middle", "recorded"]: ...

    @property
    def context_limit(self) -> int | None: ...

    @property
    def model_fields_set(self) -> set[str]:
        """The names of the settings that were given."""

    @property
    def recipe(self) -> str | None: ...

    @property
    def traffic(self) -> TrafficMix | None: ...

    @property
    def segments(self) -> tuple[Segment, ...]: ...

    @property
    def segments_flag(self) -> str: ...

    @property
    def ramp_up(self) -> float: ...

    @property
    def finds_warmup(self) -> bool: ...

    @property
    def warmup_s(self) -> float: ...

    @property
    def warmup_requests(self) -> int: ...
