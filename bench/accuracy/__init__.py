"""Records and the mock's ledger, joined: how wrong every number is, at this load, on this machine. Pure.

    ledger            the lines of a ledger, of which only the places are held in memory
    join              request by request, chunk by chunk; whatever does not match is a problem
    truth             the metrics by the ledger, from code that shares nothing with bench.metrics
    distribution      many values in bounded memory, and their quantiles: nor does this
    pair_statistics   everything that a certificate needs of the joined pairs
    known_mistakes    what known mistakes would have made of the same requests; causes picks the likely one
    closed_form       what the mock did against what its configuration says
    compare           measured against true: `certificate`
    planned_arrivals  arrivals against the drawn plan
    coverage          which later runs a certificate covers

`bench/calibrate/` drives runs with it.
"""

from bench.accuracy.compare import certificate

SCHEMA = "trueload/certificate/1"
"""Of certificate.json; bench/report/certificate.schema.json says what is in one."""

__all__ = ["SCHEMA", "certificate"]
