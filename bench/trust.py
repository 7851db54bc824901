"""TLS on the client's side: which authorities it trusts, and its own certificate (`--ca-file`, `--insecure`,
`--client-cert`)."""

from __future__ import annotations

import ssl
from typing import Protocol


class Trust(Protocol):
    """The TLS settings of a target, or of anything else that connects to it."""

    @property
    def ca_file(self) -> str | None: ...
    @property
    def insecure(self) -> bool: ...
    @property
    def client_cert(self) -> str | None: ...
    @property
    def client_key(self) -> str | None: ...


def context(trust: Trust) -> ssl.SSLContext:
    """How the server's certificate is checked: against the system's authorities, the given ones, or not at all."""
    made = ssl.create_default_context(cafile=trust.ca_file)
    if trust.insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if trust.client_cert is not None:
        made.load_cert_chain(trust.client_cert, trust.client_key)
    return made
