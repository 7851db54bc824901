"""How the load is sent and measured: metrics of the server, transport, processes, machines."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator

from bench.config import fields, values
from bench.config.fields import Many, checked
from bench.transport import DEFAULT, TRANSPORTS, present

option = partial(fields.option, group="engine")


class Engine(BaseModel):
    """The settings of the group `engine`."""

    server_metrics: Annotated[Many, AfterValidator(values.server_metrics)] = option(
        (),
        "read the server's own metrics (Prometheus) each second: auto looks for them next to its API, off reads "
        "none, a URL names their page; may be repeated, for replicas",
        metavar="auto|off|URL",
        otherwise="auto",
    )
    gpu_metrics: Annotated[str, AfterValidator(values.gpu_metrics)] = option(
        "auto",
        "read the GPUs each second: auto asks this machine's driver (NVML, AMD SMI) if the server is on it, off reads none, "
        "a URL names the page of an exporter (DCGM, AMD, npu-exporter, Gaudi)",
        metavar="auto|off|URL",
    )
    gpus: int | None = option(None, "GPUs that the server uses: adds tokens per second of each", metavar="N", ge=1)
    gpu_hour_cost: float | None = option(
        None, "what an hour of one GPU costs: adds the cost of a million tokens", metavar="COST", gt=0
    )
    transport: Annotated[str, AfterValidator(present)] = option(
        DEFAULT, "how requests are sent: " + ", ".join(TRANSPORTS), metavar="NAME"
    )
    workers: Annotated[str, BeforeValidator(values.workers)] = option(
        "auto", "sending processes; auto starts as many as the load needs", metavar="N|auto"
    )
    cluster: Annotated[str | None, checked(values.cluster)] = option(
        None,
        "send the load from the nodes of a Ray cluster: ray: the cluster of RAY_ADDRESS, or of this machine",
        metavar="ray|ray://HOST:PORT",
    )
    workers_per_node: int | None = option(
        None, "with --cluster: workers on each node", metavar="N", ge=1, otherwise="spread by Ray"
    )
    runtime_env: str | None = option(
        None,
        "with --cluster: the environment that Ray makes on the nodes; code: the source code of this Trueload; "
        "FILE: a Ray runtime environment (YAML), to which the code is added; none: the nodes have this version",
        metavar="code|FILE|none",
        otherwise="code",
    )
    cpu_priority: Literal["auto", "normal", "realtime"] = option(
        "auto",
        "scheduling priority of the sending processes: realtime (SCHED_RR) wakes them at once on a busy "
        "machine; auto takes it if the system allows it, and gives it back if they need most of a processor",
    )
