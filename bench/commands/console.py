"""`bench console`: runs load tests from a browser."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import webbrowser
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from bench.config.flags import Parser, tried
from bench.console.address import door, forget, keep, read, urls_of
from bench.console.app import create_app
from bench.console.people import Proxy, proxy_of
from bench.console.security import Keys, is_loopback, token_problem
from bench.console.service import Console
from bench.console.serving import Tls, configured, serve
from bench.console.tasks import OWN_FOLDER
from bench.errors import Exit, UsageError
from bench.run_files.run_directory import held_alone
from bench.run_files.writable import make_directory

EXAMPLES = """\
examples:
  python -m bench console
  python -m bench console --port 9000 --runs /data/runs --no-browser
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    args = _parser().parse_args(list(argv))
    problems: list[str] = []
    if not args.port.isdecimal() or int(args.port) > 65535:
        problems.append(f"--port must be from 0 to 65535 (given: {args.port!r})")
    token = tried(problems, lambda: _token(args))
    read_token = tried(problems, lambda: _read_token(args))
    tls = tried(problems, lambda: _tls(args))
    proxy = tried(problems, lambda: proxy_of(args.trusted_proxy, args.trust_user_header))
    if problems:
        raise UsageError(problems)
    folder = Path(args.runs) / OWN_FOLDER
    make_directory("--runs", folder)
    with held_alone(folder) as acquired:
        return _serve(args, Keys(token, read_token), tls, proxy) if acquired else _other_console(args)


def _serve(args: Namespace, keys: Keys, tls: Tls | None, proxy: Proxy | None) -> int:
    listening = _listen(args.host, int(args.port))
    port = listening.getsockname()[1]
    console = Console(Path(args.runs), key_env=args.key_env, allow_local_data=args.allow_local_data)
    public, private = urls_of(args.host, port, keys.token, tls=tls is not None)
    app = create_app(console, keys, host=args.host, port=port, tls=tls is not None, proxy=proxy)
    keep(console.runs, private)

    def ready() -> None:
        print(f"console ready at {public if args.token else private}", flush=True)
        if not args.no_browser:
            webbrowser.open(door(console.runs, private))

    try:
        serve(configured(app, tls), listening, ready=ready, ending=console.ending.set)
    finally:
        forget(console.runs)
    return Exit.GOOD


def _other_console(args: Namespace) -> int:
    """Open the page of the running console of this folder. Raises UsageError if no browser may be opened.

    Two queues would send two loads at once, which would disturb each other.
    """
    runs = Path(args.runs)
    try:
        base, token = read(runs)
    except UsageError:
        raise UsageError(f"another console of {runs} is starting or ending: try again in a moment") from None
    if args.no_browser:
        raise UsageError(f"a console of {runs} already runs at {base}: use it, or end it first")
    print(f"a console of {runs} already runs at {base}: this opens its page", flush=True)
    webbrowser.open(door(runs, f"{base}/?{urlencode({'token': token})}"))
    return Exit.GOOD


def _parser() -> Parser:
    parser = Parser(
        prog="python -m bench console",
        description="Serves a web console to start load tests, watch them live, and keep and compare their results.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", default="8600", help="port to listen on; 0 takes a free one (default: 8600)")
    parser.add_argument(
        "--runs", metavar="DIR", default="runs", help="the folder of the run directories (default: runs)"
    )
    parser.add_argument("--token", help="the token of the URL (default: a new one, from TRUELOAD_TOKEN or at random)")
    parser.add_argument(
        "--read-token",
        metavar="T",
        help="a second token that allows reading only (default: TRUELOAD_READ_TOKEN, or none)",
    )
    parser.add_argument(
        "--trust-user-header",
        metavar="NAME",
        help="the header in which --trusted-proxy names the user, such as X-Forwarded-User; the console shows the name with "
        "each action",
    )
    parser.add_argument(
        "--trusted-proxy", metavar="ADDR", help="the address, or the network, of a reverse proxy that lets users in"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="serve https:// with this certificate (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="its key (default: in the same file)")
    parser.add_argument(
        "--key-env",
        metavar="NAME",
        action="append",
        default=[],
        help="an environment variable that saved targets may use as a key; may be repeated (always allowed: OPENAI_API_KEY, "
        "TRUELOAD_KEY_*)",
    )
    parser.add_argument(
        "--allow-local-data",
        action="store_true",
        help="let the page Data fetch from loopback and link-local addresses too (default: refused)",
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    return parser


def _token(args: Namespace) -> str | None:
    """The token chosen by the user. Raises UsageError if it is too short, or missing although other machines can connect."""
    token: str | None = args.token or os.environ.get("TRUELOAD_TOKEN")
    token = None if token is None else token.strip()  # A token read from a file ends in a line break.
    if not is_loopback(args.host):
        if token is None:
            raise UsageError(
                f"--host {args.host} lets other machines in: choose the token that they need, with --token or TRUELOAD_TOKEN"
            )
        plain = "" if args.tls_cert else ", without encryption"
        print(
            f"warning: {args.host} can be reached from other machines{plain}: anyone with the token can send load from this "
            "machine",
            file=sys.stderr,
        )
    if token is not None and (problem := token_problem(token)) is not None:
        where = "--token" if args.token else "the token in TRUELOAD_TOKEN"
        raise UsageError(f"{where} {problem}")
    return token


def _read_token(args: Namespace) -> str | None:
    """The read-only token. Raises UsageError if it is easy to guess, or equals the full token."""
    token: str | None = args.read_token or os.environ.get("TRUELOAD_READ_TOKEN")
    token = None if token is None else token.strip()
    if token is None:
        return None
    where = "--read-token" if args.read_token else "the token in TRUELOAD_READ_TOKEN"
    if (problem := token_problem(token)) is not None:
        raise UsageError(f"{where} {problem}")
    if token == (args.token or os.environ.get("TRUELOAD_TOKEN") or "").strip():
        raise UsageError(f"{where} is the token that may change everything: choose another")
    return token


def _tls(args: Namespace) -> Tls | None:
    """The certificate. Raises UsageError for files without one, or if the key has a password."""
    if args.tls_cert is None:
        if args.tls_key is not None:
            raise UsageError("--tls-key needs --tls-cert, the certificate that it belongs to")
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(args.tls_cert, args.tls_key, password=lambda: "")
    except (OSError, ValueError) as e:  # ssl.SSLError is an OSError.
        why = getattr(e, "strerror", None) or e
        raise UsageError(f"--tls-cert {args.tls_cert}: {why}: name PEM files of a certificate and its key") from e
    return Tls(args.tls_cert, args.tls_key)


def _listen(host: str, port: int) -> socket.socket:
    try:
        host.encode("idna")
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # asyncio sets TCP_NODELAY only on sockets with an explicit protocol, and create_server's have 0. Without it,
        # each response on a reused connection would wait 40 ms for the acknowledgement of its first packet.
        return socket.socket(listening.family, listening.type, socket.IPPROTO_TCP, fileno=listening.detach())
    except UnicodeError as e:
        raise UsageError(f"--host {host}: not a valid host name (a part of it is empty, or over 63 characters)") from e
    except OSError as e:
        # Python's own message repeats the address.
        why = os.strerror(e.errno) if e.errno and e.errno > 0 else str(e)
        raise UsageError(f"cannot listen on {host}:{port} ({why}): choose another --port") from e
