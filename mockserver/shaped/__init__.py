"""Replies that are not the ordinary one: with reasoning, stop strings, another place for the finish reason, or faults.

`stream` and `whole` are replies as those of `mockserver.reply`, slower and able to do everything; `script` is what they
say, `outgoing` how the bytes of a stream go out.
"""
