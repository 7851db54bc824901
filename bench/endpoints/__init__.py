"""The APIs that a run can load: how a request is encoded, how the reply is read, and how it ends. No I/O."""
