"""A mock fitted to a server: from the records of runs at a few loads to a profile for `python -m mockserver --profile`.

    streams     what a record says of the server's work
    steps       the steps of the server, as token arrivals show them, and the work in each
    robust      non-negative least squares, with weights that leave outliers out
    coefficients  b0 to b3 with their intervals, and which of them these loads could not tell
    prompt_cost what a prompt costs besides its tokens, which no coefficient holds: a warning
    front_end   a0, a1 and w0, from the TTFT that the steps leave
    limits      sequences, tokens and KV blocks: where waiting begins, or what the server says
    profile     the document, and the runs that would tell more
    read        run directories, and what they say of their server

Times are us of the run's own clock. numpy is imported here: import these modules inside the function that computes.
"""
