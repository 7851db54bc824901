"""The command tune: which flags make a server best? docs/compare.md

race        what is tried next, from the turns so far: a decision without clock and servers
spec        the file of a race, checked; arms and conditions: the combinations of flags
servers     a server is started, waited for, and ended with all that it started
turns       a turn: start, measure, one value
answers     whether an arm's answers are worse than the default's
measure     the series of turns, and the exit status
tune_file   tune.json: made of the turns, and read again
"""
