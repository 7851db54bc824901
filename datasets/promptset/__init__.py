"""Prompts with an exact number of tokens, as the target's tokenizer counts them."""
