"""Checks the certificate and the key that a run shows to the server. Each problem is a sentence."""

from __future__ import annotations

import ssl
from _ssl import _test_decode_cert  # type: ignore[attr-defined]  # ssl has no public reader of a certificate in a file
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.clock import utc_now

if TYPE_CHECKING:
    from bench.config.settings import Settings


def problems(settings: Settings) -> list[str]:
    """Why --client-cert and --client-key cannot be used."""
    certificate, key = settings.client_cert, settings.client_key
    if certificate is None:
        return [] if key is None else ["--client-key needs --client-cert, the certificate that it belongs to"]
    if urlsplit(settings.url).scheme == "http":
        return ["--client-cert is for https:// URLs"]
    if (wrong := _unusable(certificate)) is not None:
        return [f"--client-cert {wrong}"]
    where = f"--client-cert {certificate}" if key is None else f"--client-key {key}"
    encrypted: list[None] = []

    def ask() -> str:
        encrypted.append(None)  # OpenSSL asks on the terminal if there is no callback.
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, ask)
    except ssl.SSLError as e:
        if encrypted:
            at = certificate if key is None else key
            return [f"{where} is encrypted: write the key without its password (openssl pkey -in {at} -out FILE)"]
        if e.reason == "KEY_VALUES_MISMATCH" or e.reason == "KEY_TYPE_MISMATCH":
            return [f"{where} is not the key of --client-cert {certificate}: give the key that belongs to it"]
        return [f"{where} has no private key in PEM (-----BEGIN PRIVATE KEY-----)"]
    except OSError as e:
        return [f"{where} cannot be read ({e.strerror})"]
    return []


def _unusable(certificate: str) -> str | None:
    """Why the first certificate in the file cannot be used."""
    try:
        shown = _test_decode_cert(certificate)
    except OSError:
        return f"{certificate} has no certificate in PEM (-----BEGIN CERTIFICATE-----)"
    now_s = utc_now().timestamp()
    if ssl.cert_time_to_seconds(shown["notAfter"]) < now_s:
        return f"{certificate} expired on {shown['notAfter']}: get a new certificate"
    if ssl.cert_time_to_seconds(shown["notBefore"]) > now_s:
        return f"{certificate} is valid from {shown['notBefore']} only: check it and this machine's clock"
    return None
