"""The program that makes a load's requests in a second process, started by `feed.py`.

It receives the configuration, loads its tokenizer, and receives an assignment and how many of its requests (in mode
sessions: of its sessions) were already made. It writes the next one, and then as many as each message asks for, until
the messages end.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import traceback
from multiprocessing.connection import Connection
from typing import NoReturn

import bench.config  # noqa: F401  # What assignments are made of: imported before one comes.
from bench import endpoints
from bench.config import RunConfig
from bench.errors import BenchError, Exit
from bench.load.assignment import Assignment
from bench.load.components import source_of, tokenizer_of
from bench.load.frames import frame
from bench.process.priority import give_way
from bench.workload import Encoded
from promptset.errors import SpecError
from promptset.samples import Sample


def main(descriptor: int) -> int:
    """Run the process that makes requests: `descriptor` is the socket to the process that sends them."""
    faulthandler.enable()  # If nothing comes, the sending process requests a traceback with SIGABRT.
    try:
        with socket.socket(fileno=descriptor) as pipe, Connection(os.dup(descriptor)) as connection:
            _make_until_closed(pipe, connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return 0  # The sending process has ended, or needs no more.
    except (BenchError, SpecError) as e:
        print(f"making prompts: {e}", file=sys.stderr)
        return int(Exit.USAGE)
    except Exception:
        traceback.print_exc()
        return int(Exit.DEFECT)


def _make_until_closed(pipe: socket.socket, connection: Connection) -> NoReturn:
    """Raises EOFError when the sending process has ended or needs no more, and BenchError or SpecError if the data is
    wrong."""
    config: RunConfig
    config, loading = connection.recv()
    if loading:
        give_way()  # The sending process has deadlines, and this one only fills a stock.
    problem: BenchError | None = None
    try:
        tokenizer = tokenizer_of(config)
    except BenchError as e:
        problem = e  # The sending process finds it too, and then sends no assignment.
    assignment: Assignment = connection.recv()
    if problem is not None:
        raise problem
    made: int = connection.recv()

    def encode(sample: Sample) -> Encoded:
        return endpoints.encode(sample, assignment.options)

    source = source_of(assignment.config, tokenizer, assignment.share, salt=assignment.salt, skip=made)
    first = frame(source.pack_next(encode))
    if not loading:
        give_way()  # Not earlier: the run waits for everything up to here. Not later: this message lets the load begin.
    pipe.sendall(b"." + first)
    while True:
        for _ in range(connection.recv()):
            pipe.sendall(frame(source.pack_next(encode)))
