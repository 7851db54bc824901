"""Records and the mock's ledger, joined: how wrong every number is, at this load, on this machine.

    ledger        the lines of a ledger, of which only the places are held
    join          request by request, chunk by chunk; whatever does not match is a problem
    truth         the metrics as the ledger tells them, by code that shares nothing with bench.metrics
    distribution  many values in bounded memory, and their quantiles: nor does this
    fold          all that a certificate needs of the pairs
    alternatives  what mistakes would have made of the same requests; causes picks the likely one
    closed_form   what the mock did against what its configuration says
    compare       measured against true: `certificate`
    due           arrivals against the drawn plan
    covers        which later runs a certificate speaks of
    full          what must follow where the mock is changed; slow_reader is the client of one of these checks

`mock` starts the mock that `python -m bench calibrate` measures, `measure` runs the load and keeps what came of it, and
`sweep` does so for many loads.
"""

from bench.calibrate.compare import certificate

SCHEMA = "trueload/certificate/1"
"""Of certificate.json; bench/report/certificate.schema.json says what is in one."""

__all__ = ["SCHEMA", "certificate"]
