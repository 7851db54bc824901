"""Parts of scripts/check-container: the image of the Dockerfile, from an engine or step by step."""
