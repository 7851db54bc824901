"""Results as trees of frozen values: what each file of a run or a series holds. Files and JSON schemas are made of them."""
