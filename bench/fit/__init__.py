"""Fitting a mock to a server: from the records of runs at a few loads to a profile for `python -m mockserver
--profile`.

    streams       the server's work, as the records show it
    steps         the server's steps, as token arrivals show them, and the work in each
    robust        non-negative least squares, with weights that leave outliers out
    coefficients  b0 to b4 with their intervals, and which of them these loads cannot determine
    prompt_cost   whether a prompt has a cost besides its tokens
    front_end     a0, a1 and w0, from the TTFT that remains after the steps
    limits        sequences, tokens and KV blocks: where waiting begins, or what the server reports
    profile       the document, and the runs that would determine more
    read          run directories, and what they state about their server

Times are in us of the run's own clock. numpy is imported here: import these modules inside the function that computes.
"""
