"""What is sent in mode sessions.

turns           requests that carry what was said before, made while their user thinks
kept_messages   messages that many requests carry, written as JSON once
mid_session     sessions that begin in their middle
"""
