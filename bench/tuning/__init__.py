"""The command tune: which flags make a server best? docs/compare.md

race        what to try next, from the turns so far: a decision without clock and servers
spec        the file of a race, checked; arms and conditions: the combinations of flags
servers     starts a server, waits for it, and ends it with everything that it started
turns       a turn: start, measure, one value
answers     whether an arm's answers are worse than the default's
measure     the series of turns, and the exit status
tune_file   tune.json: made from the turns, and read again
"""
