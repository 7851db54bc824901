"""Which server to load, over which API, and what each request carries in addition to its content."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr

from bench.config import endpoint_values, fields, values
from bench.config.addresses import Affinity, Balance, TargetAddress
from bench.config.fields import Many, checked
from bench.endpoints import DEFAULT as DEFAULT_ENDPOINT
from bench.endpoints import ENDPOINTS
from bench.endpoints.definition import shipped
from bench.transport.interface import REPLICA_HEADERS

option = partial(fields.option, group="target")


class Target(BaseModel):
    """The settings of the group `target`."""

    url: Annotated[str, AfterValidator(values.url)] = option(
        ...,
        "the server: http://host:8000, with or without /v1 or the whole path; repeat it for several (URL=3 has three times "
        "the requests), or give @FILE with one URL per line",
        metavar="URL",
        several=True,
    )
    targets: tuple[TargetAddress, ...] = option((), "the addresses of several --url", group="file")
    balance: Balance | None = option(
        None,
        "several addresses: which one the next request goes to",
        otherwise="weighted if a URL has a weight, else round_robin",
    )
    affinity: Affinity = option("session", "several addresses: session sends all requests of a session to one of them")
    resolve_all: bool = option(False, "send to every address that the name in --url has, not to one")
    replica_header: Annotated[str | None, checked(values.header_name)] = option(
        None,
        "the response header that names the replica behind a router",
        metavar="NAME",
        otherwise=f"{REPLICA_HEADERS[0]} and others",
    )
    api: Annotated[dict[str, Any] | None, checked(endpoint_values.api)] = option(
        None, "the API that the file of --endpoint defines", group="file"
    )
    endpoint: Annotated[str | None, AfterValidator(endpoint_values.endpoint)] = option(
        None,
        "which API to use; or a FILE.yaml that defines one",
        metavar="|".join((*ENDPOINTS, *shipped())),
        otherwise=f"{DEFAULT_ENDPOINT}, or what the URL names",
    )
    model: Annotated[str | None, BeforeValidator(values.model)] = option(
        None,
        "the model to use; several, with weights: a=3,b=1",
        metavar="NAME",
        otherwise="the one that the server lists",
    )
    api_key: Annotated[SecretStr | None, AfterValidator(values.api_key)] = option(
        None,
        "the API key, sent as the endpoint wants it; never stored or printed",
        metavar="KEY",
        otherwise="OPENAI_API_KEY of the environment; ANTHROPIC_API_KEY for messages, TRUELOAD_API_KEY for http",
    )
    header: Annotated[Many, AfterValidator(values.headers)] = option(
        (), "add a request header, whose value is never stored; may be repeated", metavar="NAME:VALUE"
    )
    session_header: Annotated[str | None, checked(values.header_name)] = option(
        None,
        "send the session's name with each request in this header, for load balancers: X-Session-ID",
        metavar="NAME",
    )
    extra_body: Annotated[dict[str, Any] | None, BeforeValidator(values.json_object)] = option(
        None, "fields to add to every request body, as a JSON object", metavar="JSON"
    )
    websocket: bool = option(False, "endpoint responses: send each conversation over its own WebSocket")
    ignore_eos: bool = option(False, "make replies exactly as long as requested (vLLM, SGLang)")
    stream: bool = option(True, "ask for whole responses, not streams: no TTFT, TPOT or ITL")
    ca_file: Annotated[str | None, checked(values.certificate_file)] = option(
        None, "trust the certificate authorities in this PEM file (https)", metavar="FILE"
    )
    insecure: bool = option(False, "do not check the server's certificate (https)")
    client_cert: Annotated[str | None, checked(values.existing_file)] = option(
        None, "show the server this certificate (PEM, https)", metavar="FILE"
    )
    client_key: Annotated[str | None, checked(values.existing_file)] = option(
        None,
        "the key of --client-cert (PEM, not encrypted)",
        metavar="FILE",
        otherwise="the key in the file of --client-cert",
    )
    watch_scale: bool = option(
        False, "send the load before the server is ready, and report when it became ready and what was lost until then"
    )
    proxy: Annotated[str | None, checked(values.proxy)] = option(
        None,
        "reach the server through this HTTP proxy, http://[USER:PASSWORD@]HOST:PORT; latencies include it",
        metavar="URL",
    )
