"""Records and the mock's ledger, joined: how wrong every number is, at this load, on this machine.

    join     request by request, chunk by chunk; whatever does not match is a problem
    truth    the metrics as the ledger tells them, by code that shares nothing with bench.metrics
    compare  measured against true: `certificate`

`mock.py` starts the mock that `python -m bench calibrate` measures.
"""

from bench.calibrate.compare import certificate

__all__ = ["certificate"]
