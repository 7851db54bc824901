"""Checked answers: probes whose right answer is known, and the answers to them.

probe_set   the probes of a run, as stored in its directory, and the answers to them
graders     whether an answer is right: one function for each grader of promptset.probes
traits      other good or bad properties of one text
measures    the checks of every answer: right, the same, valid, readable
compared    answers alone against answers under load: each measure with its test
checked     the answers of one run: shares, and wrong answers
cross_talk  answers with the code word of another request
examples    answers side by side
"""
