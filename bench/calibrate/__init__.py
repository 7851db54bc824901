"""Runs against a mock that tell how wrong every number is. The judgement itself is bench/accuracy/.

measure      one calibration, or many: starts the mock, runs the load, keeps the certificate
mock         starts the mock
remote       a mock that runs elsewhere, over HTTP
sweep        pure: which loads, and up to which of them the machine is trusted
metamorphic  pure: what must follow in the report when the mock is changed (`--full`)
slow_reader  the client of one of those checks
"""
