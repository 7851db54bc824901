"""Prompts that have exactly the tokens asked for, as the target's tokenizer counts them."""
