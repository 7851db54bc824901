"""Mutual TLS with a real TLS server (OpenSSL): over every transport, for requests beside the load, and with each
unusable file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit, UsageError
from bench.load.components import tokenizer_of
from bench.records import Outcome
from bench.target import side_requests
from bench.transport.interface import Target
from tests.support.certificates import DAY, Authority, authority
from tests.support.configurations import resolved
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import CERTIFICATE, LiteralServer, in_turn
from tests.support.on_transports import WAYS, ask
from tests.support.run_process import finished, flags

pytestmark = pytest.mark.usefixtures("work_folder")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("certificates"))


def shown(certificate: str | None, key: str | None) -> dict[str, Any]:
    return {"ca_file": str(CERTIFICATE), "client_cert": certificate, "client_key": key}


def words_of(url: str, tmp_path: Path, certificate: str | None, key: str | None) -> list[str]:
    words = flags(url, tmp_path, "--requests", "2", "--ca-file", str(CERTIFICATE))
    words += [] if certificate is None else ["--client-cert", certificate]
    return words + ([] if key is None else ["--client-key", key])


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_wants_a_certificate_gets_it(way: str, signer: Authority) -> None:
    certificate, key = signer.certificate("client")
    both = signer.folder / "both.pem"
    both.write_text(Path(key).read_text() + Path(certificate).read_text())
    with LiteralServer(in_turn(stream(*GOOD)), tls=True, client_ca=signer.file) as server:
        for files in ((certificate, key), (str(both), None)):
            (record,) = ask(way, server.url, **shown(*files))
            assert (record.outcome, record.error) == (Outcome.OK, None)
        (record,) = ask(way, server.url, **shown(None, None))
    assert record.outcome in (Outcome.RESET, Outcome.CONNECT_ERROR)


def test_what_is_asked_beside_the_load_shows_it_too(signer: Authority) -> None:
    certificate, key = signer.certificate("beside")
    with LiteralServer(in_turn(whole("200 OK", {"data": []})), tls=True, client_ca=signer.file) as server:
        target = Target(url=server.url, **shown(certificate, key))
        assert side_requests._get(f"{server.url}/models", target, 60.0) == b'{"data": []}'


def test_a_tokenizer_at_the_server_is_asked_with_the_same_certificates(signer: Authority) -> None:
    certificate, key = signer.certificate("tokenizer")
    counted = whole("200 OK", {"tokens": [1, 2], "count": 2})
    with LiteralServer(in_turn(counted), tls=True, client_ca=signer.file) as server:
        config = resolved(url=server.url, tokenizer="server", requests=1, **shown(certificate, key))
        tokenizer = tokenizer_of(config)
        assert tokenizer is not None
        assert tokenizer.count("any text") == 2
        with pytest.raises(UsageError, match="/tokenize does not answer"):
            tokenizer_of(config.with_values(client_cert=None, client_key=None))


def test_a_run_shows_its_certificate(tmp_path: Path, signer: Authority) -> None:
    with LiteralServer(api(in_turn(stream(*GOOD))), tls=True, client_ca=signer.file) as server:
        status, _, err = finished(words_of(server.url, tmp_path, *signer.certificate("run")))
    assert status == 0, err


@pytest.mark.parametrize("given", ["none", "a stranger's"])
def test_a_certificate_that_the_server_does_not_take_has_a_sentence(
    given: str, tmp_path: Path, signer: Authority
) -> None:
    stranger = authority(tmp_path, "stranger").certificate("other") if given != "none" else (None, None)
    with LiteralServer(api(in_turn(stream(*GOOD))), tls=True, client_ca=signer.file) as server:
        status, _, err = finished(words_of(server.url, tmp_path, *stranger))
    assert status == Exit.TARGET
    why = "certificate required" if given == "none" else "unknown ca"
    assert f"refuses the TLS handshake ({why}): it wants a client certificate that it trusts" in err


def test_files_that_cannot_be_used_have_a_sentence_each(
    tmp_path: Path, signer: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate, key = signer.certificate("good")
    _, other_key = signer.certificate("other")
    locked, locked_key = signer.certificate("locked", password=b"secret")
    expired, expired_key = signer.certificate("expired", ends=-DAY)
    later, later_key = signer.certificate("later", begins=DAY, ends=2 * DAY)
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for files, sentence in (
        ((locked, locked_key), f"--client-key {locked_key} is encrypted: write the key without its password"),
        ((certificate, other_key), f"--client-key {other_key} is not the key of --client-cert {certificate}: give"),
        ((expired, expired_key), f"--client-cert {expired} expired on "),
        ((later, later_key), f"--client-cert {later} is valid from "),
        ((certificate, None), f"--client-cert {certificate} has no private key in PEM"),
        ((certificate, str(empty)), f"--client-key {empty} has no private key in PEM"),
        ((str(empty), key), f"--client-cert {empty} has no certificate in PEM"),
        ((None, key), "--client-key needs --client-cert"),
        ((str(tmp_path / "gone"), key), f"--client-cert: there is no file {tmp_path / 'gone'}"),
    ):
        assert cli.main(words_of("https://127.0.0.1:1", tmp_path, *files)) == Exit.USAGE
        said = capfd.readouterr().err
        assert sentence in said, said
    assert cli.main(words_of("http://127.0.0.1:1", tmp_path, certificate, key)) == Exit.USAGE
    assert "--client-cert is for https:// URLs" in capfd.readouterr().err
