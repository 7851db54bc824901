"""TLS of a client: whom it trusts, and the certificate that it shows (`--ca-file`, `--insecure`, `--client-cert`)."""

from __future__ import annotations

import ssl
from typing import Protocol


class Trust(Protocol):
    """The settings of a target, or of anything else that speaks to it."""

    @property
    def ca_file(self) -> str | None: ...
    @property
    def insecure(self) -> bool: ...
    @property
    def client_cert(self) -> str | None: ...
    @property
    def client_key(self) -> str | None: ...


def context(trust: Trust) -> ssl.SSLContext:
    """How the server's certificate is checked: by the system's authorities, by the target's own, or not at all."""
    made = ssl.create_default_context(cafile=trust.ca_file)
    if trust.insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if trust.client_cert is not None:
        made.load_cert_chain(trust.client_cert, trust.client_key)
    return made
