"""The mock's engines in virtual time: `python -m mockserver.simulate` reads jobs and writes the times of each request.

Each line of standard input is a job, one JSON object; each line of standard output is its answer, in the same order.
There is no socket and no clock: a minute of load takes as long as its tokens take to compute. The keys of a job, with
their defaults:

    settings      {}             settings of the mock, as in its YAML file: profile, engine, step_cost, seed, ...
    at_us         []             open loop: the arrival of each request
    input_tokens, output_tokens  for each request
    prefix        []             [group, tokens] for each request: requests of a group share this many leading tokens
    users         null           closed loop: this many users send the requests one after the other; at_us is ignored
    replicas      1              servers behind a router
    router        round_robin    round_robin, least_in_flight or prefix
    changes       []             [[us, replicas], ...]: the number of replicas from then on; the last ones die or start
    until_us      null           nothing is sent from then on, and nothing is computed past twice that time

An answer has, for each request, `sent_us`, `first_us`, `last_us` (null if it did not happen) and `replica`; or only
`error`.
"""

from __future__ import annotations

from mockserver.simulate.job import Job, Outcome
from mockserver.simulate.simulation import simulate

__all__ = ["Job", "Outcome", "simulate"]
