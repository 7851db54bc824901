"""Checked answers: probes whose right answer is known, and what became of their answers.

probe_set   the probes of a run, as its directory keeps them, and the answers to them
graders     whether an answer is right: one function for each grader of promptset.probes
traits      what else is good or bad in one text
measures    what is asked of every answer: right, the same, valid, readable
compared    answers alone against answers under load: each measure with its test
checked     the answers of one run: shares, and what is wrong
cross_talk  answers with the code word of another request
examples    answers side by side
"""
