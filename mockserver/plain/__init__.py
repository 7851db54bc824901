"""The ordinary streamed request, served without the framework."""
