"""Replies with reasoning, stop strings, a separate finish reason, or faults.

`stream` and `whole` do what `replies/reply.py` does, for every shape, and slower. `content` is what they send, `outgoing`
how the bytes of a stream go out.
"""
