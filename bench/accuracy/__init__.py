"""Joins records with the mock's ledger to find the error of every number, at this load, on this machine. Pure.

    ledger            the lines of a ledger; memory holds only their places in the file
    join              request by request, chunk by chunk; whatever does not match is a problem
    truth             the metrics by the ledger, from code that shares nothing with bench.metrics
    jobs              job seconds by the ledger, and their errors
    distribution      many values in bounded memory, and their quantiles: shares nothing with bench.metrics either
    pair_statistics   everything that a certificate needs of the joined pairs
    known_mistakes    the numbers that known mistakes would give for the same requests; causes picks the likely one
    closed_form       what the mock did against what its configuration promises
    planned_arrivals  arrivals against the drawn schedule
    compare           measured against true: `certify` makes the certificate; plots its data for plots
    coverage          which later runs a certificate covers
    sweep             calibration at many loads: which loads, and up to which of them to trust the machine
    metamorphic       `calibrate --full`: what must change in a report when the mock changes

`bench/calibrate/` drives runs with it.
"""
